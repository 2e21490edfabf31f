-- Blobs that a sparse image names and its repository does not hold, by digest. When the repository comes to hold one,
-- its row becomes one of manifest_blobs.
CREATE TABLE absent_blobs (
    manifest_id BIGINT NOT NULL REFERENCES manifests (id) ON DELETE CASCADE,
    digest {text} NOT NULL,
    PRIMARY KEY (digest, manifest_id)
);
CREATE INDEX absent_blobs_manifest ON absent_blobs (manifest_id);
