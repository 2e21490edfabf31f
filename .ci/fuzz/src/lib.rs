//! What the fuzz targets share: the registry behind its router, without a socket.

use std::path::Path;
use std::sync::Arc;

use wharf_registry::app::App;
use wharf_registry::auth::basic;
use wharf_registry::blobs::disk::Disk;
use wharf_registry::cli::{Places, Serve};
use wharf_registry::clock::{Clock as _, SystemClock};
use wharf_registry::config::Config;
use wharf_registry::metadata::{Accounts as _, NewUser, Options, SqlMetadata};
use wharf_registry::metrics::Metrics;
use wharf_registry::random::SystemRandom;

/// The name and the password of the one user, who may do everything.
pub const ADMIN: (&str, &str) = ("admin", "correct horse battery staple");

/// Wires a registry over a folder, with one user.
pub async fn registry(folder: &Path) -> Arc<App> {
    let places = Places {
        data_dir: Some(folder.display().to_string()),
        ..Places::default()
    };
    // A token is good for as long as a target may run.
    let environment = [("WHARF_REGISTRY_TOKEN_LIFE".to_owned(), "24h".to_owned())];
    let config = Config::from_layers(&places, &Serve::default(), environment.into_iter());
    let config = config.expect("these are settings");
    let blobs = Arc::new(Disk::open(&folder.join("storage")).expect("the folder is ours"));
    let metadata = SqlMetadata::open(&config.database, Options::default()).await;
    let metadata = Arc::new(metadata.expect("the folder is ours"));
    let user = NewUser {
        name: ADMIN.0.to_owned(),
        password_hash: basic::hash(ADMIN.1).expect("the password is long enough"),
        admin: true,
        rules: Vec::new(),
    };
    metadata
        .add_user(user, SystemClock.now())
        .await
        .expect("the table is empty");
    let metrics = Arc::new(Metrics::new(SystemClock.now()));
    let app = App::new(
        config,
        metadata,
        blobs,
        Arc::new(SystemClock),
        Arc::new(SystemRandom),
        metrics,
    );
    Arc::new(app.await.expect("keys can be made"))
}
