//! Answers that name what is there.

use super::client::Connection;
use super::servers::Wharf;
use super::table::{Contender, Table};
use super::work::{Peers, sha256, wrk};

const TAGS: usize = 5000;
const REPOSITORIES: usize = 2000;
/// How many repositories a page may list: as many as the peer allows.
const PAGE: usize = 1000;

impl Peers<'_> {
    /// The ping that every client begins with.
    pub(crate) fn ping(&self) {
        self.compare("GET /v2/, wrk, 16 connections", "registry:catalog:search", "/v2/");
    }

    /// All tags of a repository that has many.
    pub(crate) fn tags(&self) {
        const NAME: &str = "admin/tags";
        self.on_each(|connection| {
            let manifest = small_manifest(connection, NAME);
            for tag in 0..TAGS {
                connection.put_manifest(NAME, &format!("v{tag}"), &manifest);
            }
        });
        self.compare(
            &format!("tags list of {TAGS}, wrk, 16 connections"),
            &format!("repository:{NAME}:pull"),
            &format!("/v2/{NAME}/tags/list"),
        );
    }

    /// The first page of a catalog that has two.
    pub(crate) fn catalog(&self) {
        self.on_each(|connection| {
            for repository in 0..REPOSITORIES {
                let name = format!("admin/catalog/{repository}");
                let manifest = small_manifest(connection, &name);
                connection.put_manifest(&name, "latest", &manifest);
            }
        });
        self.compare(
            &format!("catalog, {PAGE} of {REPOSITORIES} repositories, wrk, 16 connections"),
            "registry:catalog:*",
            &format!("/v2/_catalog?n={PAGE}"),
        );
    }

    /// Prepares each registry, with the administrator's login.
    fn on_each(&self, prepare: impl Fn(&mut Connection)) {
        prepare(&mut Connection::open(&self.wharf.server.address, Wharf::LOGIN));
        if let Some(docker) = self.docker {
            prepare(&mut Connection::open(&docker.server.address, ""));
        }
    }

    /// Asks each registry for the path.
    fn compare(&self, what: &str, scope: &str, path: &str) {
        let registries = self.registries_for(scope);
        let mut contenders: Vec<Contender<'_>> = registries
            .iter()
            .map(|(name, server, authorization)| (*name, wrk(server, path, authorization)))
            .collect();
        Table::run(what, "req/s", "1000", &mut contenders);
    }
}

/// Pushes what a manifest without layers needs, and returns it.
fn small_manifest(connection: &mut Connection, repository: &str) -> Vec<u8> {
    let config = b"{}";
    connection.push(repository, &sha256(config), config);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": sha256(config),
            "size": config.len(),
        },
        "layers": [],
    });
    serde_json::to_vec(&manifest).unwrap()
}
