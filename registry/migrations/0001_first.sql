-- The rows of the registry, for SQLite and PostgreSQL. Words in braces are put in by metadata/dialect.rs:
-- {id} a number that the database gives, {text} text that sorts by its bytes, {bytes} a string of bytes.
-- Times are milliseconds since the Unix epoch and end in _ms. A digest is its algorithm and hexadecimal digits, as on
-- the wire ("sha256:…").

CREATE TABLE repositories (
    id {id},
    name {text} NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL,
    -- where the description comes from: 0 the page, 1 an annotation, 2 a label, 3 a README
    description_source BIGINT,
    description {text},
    stars BIGINT NOT NULL DEFAULT 0
);

-- Which object of which store holds the bytes of a digest. The object's key is made for each push and never used
-- again, so that a late delete cannot reach the bytes of a later push.
CREATE TABLE blobs (
    id {id},
    digest {text} NOT NULL UNIQUE,
    store {text} NOT NULL DEFAULT 'main',
    object_key {text} NOT NULL UNIQUE,
    size_bytes BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    -- until then the blob stays though nothing names it
    lease_until_ms BIGINT NOT NULL,
    -- since then it no longer exists for anybody, and its object waits to be deleted
    condemned_ms BIGINT,
    -- goes up when a push gives the digest another object
    generation BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX blobs_condemned ON blobs (condemned_ms) WHERE condemned_ms IS NOT NULL;
CREATE INDEX blobs_lease ON blobs (lease_until_ms) WHERE condemned_ms IS NULL;

CREATE TABLE repository_blobs (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    blob_id BIGINT NOT NULL REFERENCES blobs (id),
    PRIMARY KEY (repository_id, blob_id)
);
CREATE INDEX repository_blobs_blob ON repository_blobs (blob_id);

CREATE TABLE manifests (
    id {id},
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    digest {text} NOT NULL,
    media_type {text} NOT NULL,
    size_bytes BIGINT NOT NULL,
    subject {text},
    artifact_type {text},
    -- a JSON object, as referrers listings show it
    annotations TEXT,
    created_ms BIGINT NOT NULL,
    pushed_by {text} NOT NULL,
    -- since then it no longer exists for anybody, but can be restored until it is forgotten
    deleted_ms BIGINT,
    -- last, because a long row's other columns are read without its end
    bytes {bytes} NOT NULL,
    UNIQUE (repository_id, digest)
);
CREATE INDEX manifests_subject ON manifests (repository_id, subject, digest) WHERE subject IS NOT NULL;
CREATE INDEX manifests_deleted ON manifests (deleted_ms) WHERE deleted_ms IS NOT NULL;

CREATE TABLE manifest_blobs (
    manifest_id BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    blob_id BIGINT NOT NULL REFERENCES blobs (id),
    PRIMARY KEY (manifest_id, blob_id)
);
CREATE INDEX manifest_blobs_blob ON manifest_blobs (blob_id);

-- By digest, for a sparse index lists what the repository does not hold.
CREATE TABLE manifest_children (
    manifest_id BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    child {text} NOT NULL,
    PRIMARY KEY (manifest_id, child)
);
CREATE INDEX manifest_children_child ON manifest_children (child);

CREATE TABLE tags (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    name {text} NOT NULL,
    manifest_id BIGINT NOT NULL REFERENCES manifests (id),
    moved_ms BIGINT NOT NULL,
    PRIMARY KEY (repository_id, name)
);
CREATE INDEX tags_manifest ON tags (manifest_id);

CREATE TABLE tag_history (
    id {id},
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    tag {text} NOT NULL,
    from_digest {text},
    to_digest {text},
    moved_by {text} NOT NULL,
    moved_ms BIGINT NOT NULL
);
CREATE INDEX tag_history_tag ON tag_history (repository_id, tag, id);

CREATE TABLE uploads (
    id {text} PRIMARY KEY,
    -- by name: a repository comes into being with its first blob or manifest
    repository {text} NOT NULL,
    owner {text} NOT NULL,
    object_key {text} NOT NULL,
    algorithm {text} NOT NULL,
    offset_bytes BIGINT NOT NULL,
    hash_format BIGINT,
    hash_state {bytes},
    -- where the bytes lie, in the store's own words
    staged TEXT NOT NULL,
    writer {text},
    held_until_ms BIGINT,
    started_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX uploads_owner ON uploads (owner, expires_ms);
CREATE INDEX uploads_expires ON uploads (expires_ms);

-- Objects that no blob points at any more, to be deleted.
CREATE TABLE dead_objects (
    object_key {text} PRIMARY KEY,
    store {text} NOT NULL DEFAULT 'main',
    since_ms BIGINT NOT NULL
);
CREATE INDEX dead_objects_since ON dead_objects (since_ms, object_key);

CREATE TABLE users (
    id {id},
    name {text} NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    admin BIGINT NOT NULL,
    version BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE rules (
    who {text} NOT NULL,
    pattern {text} NOT NULL,
    actions {text} NOT NULL,
    PRIMARY KEY (who, pattern)
);

CREATE TABLE stars (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    user_id BIGINT NOT NULL REFERENCES users (id),
    starred_ms BIGINT NOT NULL,
    PRIMARY KEY (repository_id, user_id)
);
CREATE INDEX stars_user ON stars (user_id);

-- Accounts of programs. What they may do are rules that name them.
CREATE TABLE robots (
    id {id},
    name {text} NOT NULL UNIQUE,
    secret_hash TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_by {text} NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT
);

-- Keys that act for a user, within a scope.
CREATE TABLE api_keys (
    id {text} PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret_hash {bytes} NOT NULL,
    scope TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    used_ms BIGINT,
    expires_ms BIGINT
);
CREATE INDEX api_keys_user ON api_keys (user_id);

CREATE TABLE refresh_tokens (
    hash {bytes} PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client {text} NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_ms);

CREATE TABLE signing_keys (
    id {text} PRIMARY KEY,
    algorithm {text} NOT NULL,
    private {bytes} NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE jobs (
    id {id},
    kind {text} NOT NULL,
    payload TEXT NOT NULL,
    due_ms BIGINT NOT NULL,
    worker {text},
    held_until_ms BIGINT,
    attempts BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX jobs_due ON jobs (kind, due_ms);

-- Numbers that go up with a change, so that what is remembered in memory is asked again: 'auth' with one of users and
-- rules, 'content' with one that a command made beside the server. 'first_user' is 1 once the first user was made.
CREATE TABLE epochs (
    name {text} PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO epochs (name, value) VALUES ('auth', 1), ('content', 1), ('first_user', 0);
