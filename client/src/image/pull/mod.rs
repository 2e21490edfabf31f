//! Pulling an image: what to do is a pure [`plan`], [`fetch`] does it layer by layer, and this decides
//! what a name means before and after.

pub mod fetch;
pub mod plan;

use wharf_protocol::digest::Digest;
use wharf_protocol::manifest::{Manifest, Platform};
use wharf_protocol::media_type::ManifestKind;
use wharf_protocol::reference::Reference as WireReference;

use super::catalog::{Blob, Catalog, Image, Reference};
use super::config::{ImageConfig, MAX_CONFIG_BYTES};
use super::content::Content;
use super::name::Name;
use super::platform;
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::output::progress::Progress;
use crate::remote::credentials::Credentials;
use crate::remote::{Registry, RemoteError};

/// What a pull led to.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// What the registry's name points at: an index or the image's manifest.
    pub digest: Digest,
    /// The name meant another image before, or none.
    pub newer: bool,
}

/// Where an image is pulled from, and how.
#[derive(Debug)]
struct Source<'a> {
    registry: &'a Registry,
    /// The repository there, which a mirror may call otherwise.
    name: &'a Name,
}

/// Prepares to talk to a name's registry with the user's login.
///
/// # Errors
/// Logins that cannot be read.
pub fn registry_of(app: &App, host: &str) -> Result<Registry> {
    let login = Credentials::load(&app.docker_config)?.get(host)?;
    Registry::new(host, login, &app.settings)
}

/// Pulls what a name means at its registry, or at a mirror of it, for a platform (`None`: this machine's).
/// What has arrived when it fails or is dropped is gone on from the next time; the name and the image
/// exist only once everything is here and durable.
///
/// # Errors
/// [`Kind::NotFound`], [`Kind::Denied`] in docker's words; [`Kind::Damaged`] for bytes that are not what
/// they should be; [`Kind::Unsupported`] when no image is for the platform.
pub async fn pull(app: &App, name: &Name, wanted: Option<&Platform>, progress: &Progress) -> Result<Pulled> {
    let store = app.store()?;
    if let Some(_alone) = store.alone()? {
        // Nobody else is at work, so what half-made layers are here were left by a crash.
        super::snapshot::Snapshots::of(store).sweep()?;
    }
    let _hold = store.hold()?;
    let settings = app.settings.registry(&name.host);
    for mirror in &settings.mirrors {
        let repository = format!(
            "{}{}",
            settings.rewrite_prefix.as_deref().unwrap_or_default(),
            name.repository
        );
        let Ok(repository) = repository.parse() else {
            continue;
        };
        let there = Name {
            host: mirror.clone(),
            repository,
            ..name.clone()
        };
        let registry = registry_of(app, mirror)?;
        match pull_from(
            app,
            &Source {
                registry: &registry,
                name: &there,
            },
            name,
            wanted,
            progress,
        )
        .await
        {
            Ok(pulled) => return Ok(pulled),
            // Whatever a mirror lacks, the registry itself may have.
            Err(error) => progress.say(&format!("The mirror {mirror} cannot serve {name}: {error}")),
        }
    }
    let registry = registry_of(app, &name.host)?;
    pull_from(
        app,
        &Source {
            registry: &registry,
            name,
        },
        name,
        wanted,
        progress,
    )
    .await
}

/// When the image of a new container is pulled (`--pull`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Every time.
    Always,
    /// When it is not here.
    Missing,
    /// Not at all.
    Never,
}

/// An image that a container can be made from.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The image; the last of its chain ids is the parent of a container's snapshot.
    pub image: Image,
    /// What to run, and how.
    pub config: ImageConfig,
}

/// Finds the image for a container by what a user typed, pulling it as the policy says and telling so on
/// stderr in docker's words.
///
/// # Errors
/// As [`pull`] and [`Catalog::find`].
pub async fn ensure(
    app: &App,
    typed: &str,
    wanted: Option<&Platform>,
    policy: Policy,
    quiet: bool,
) -> Result<Ready> {
    let catalog = Catalog::of(app.store()?);
    if policy != Policy::Always {
        match catalog.find(typed, &app.settings) {
            Ok((image, _)) => {
                let config = catalog.config(&image)?;
                return Ok(Ready { image, config });
            }
            Err(error) if error.kind() != Kind::NotFound || policy == Policy::Never => return Err(error),
            Err(_) => {}
        }
    }
    let name = Name::parse(typed, &app.settings)?.or_latest();
    let familiar = name.familiar(&app.settings);
    if policy == Policy::Missing && !quiet {
        app.output
            .note(&format!("Unable to find image '{familiar}' locally"));
    }
    let progress = if quiet {
        Progress::silent()
    } else {
        Progress::to(&app.output)
    };
    let pulled = app.until_interrupted(pull(app, &name, wanted, &progress)).await;
    progress.finish();
    let pulled = pulled?;
    if !quiet {
        app.output.note(&format!("Digest: {}", pulled.digest));
        app.output.note(&status(&familiar, pulled.newer));
    }
    let config = catalog.config(&pulled.image)?;
    Ok(Ready {
        image: pulled.image,
        config,
    })
}

/// The line that says what a pull led to.
pub fn status(familiar: &str, newer: bool) -> String {
    if newer {
        format!("Status: Downloaded newer image for {familiar}")
    } else {
        format!("Status: Image is up to date for {familiar}")
    }
}

async fn pull_from(
    app: &App,
    source: &Source<'_>,
    name: &Name,
    wanted: Option<&Platform>,
    progress: &Progress,
) -> Result<Pulled> {
    let catalog = Catalog::of(app.store()?);
    // A record that cannot be read is written anew.
    let known = catalog.reference(name).ok().flatten();
    let row = name.reference().to_string();
    progress.say(&format!("{row}: Pulling from {}", name.repository));
    if wanted.is_none()
        && let Some(pulled) = up_to_date(&catalog, source, known.as_ref()).await?
    {
        return Ok(pulled);
    }
    let (top, digest) = manifest(app, source, name, &name.reference()).await?;
    let platform = wanted.cloned().unwrap_or_else(platform::this_machine);
    let (manifest, manifest_digest) = match top.kind() {
        ManifestKind::Index => {
            let chosen = platform::choose(top.manifests(), &platform).ok_or_else(|| {
                Error::engine(
                    Kind::Unsupported,
                    format!(
                        "no matching manifest for {} in the manifest list entries",
                        platform::shown(&platform)
                    ),
                )
                .hint(format!("The image is for {}.", offered(&top)))
            })?;
            self::manifest(app, source, name, &WireReference::Digest(chosen.digest.clone())).await?
        }
        _ => (top.clone(), digest.clone()),
    };
    let content = Content::of(app.store()?);
    let config = fetch_config(source, &manifest, &content).await?;
    check_platform(name, &config, &platform)?;
    let plan = plan::plan(&manifest, &config, &plan::Inventory::of(app.store()?))?;
    let image = fetch::carry_out(app, source.registry, &source.name.repository, &plan, progress).await?;
    content.put_as(&manifest_digest, manifest.bytes())?;
    content.put_as(&digest, top.bytes())?;
    let image = Image {
        manifest: blob_of(&manifest, &manifest_digest),
        ..image
    };
    catalog.put_image(&image)?;
    let newer = known.is_none_or(|known| known.image != image.id);
    let reference = Reference {
        name: name.to_string(),
        image: image.id.clone(),
        manifest: image.manifest.clone(),
        target: digest.clone(),
        tagged_at: app.now(),
    };
    catalog.put_reference(name, &reference)?;
    let by_digest = name.at_digest(digest.clone());
    catalog.put_reference(
        &by_digest,
        &Reference {
            name: by_digest.to_string(),
            ..reference
        },
    )?;
    Ok(Pulled { image, digest, newer })
}

/// Asks with one HEAD whether what the name means here is what it means there.
async fn up_to_date(
    catalog: &Catalog,
    source: &Source<'_>,
    known: Option<&Reference>,
) -> Result<Option<Pulled>> {
    let Some(known) = known else { return Ok(None) };
    let Ok(Some(image)) = catalog.image(&known.image) else {
        return Ok(None);
    };
    match source
        .registry
        .head_manifest(&source.name.repository, &source.name.reference())
        .await
    {
        Ok(Some(digest)) if digest == known.target => Ok(Some(Pulled {
            image,
            digest,
            newer: false,
        })),
        // Any trouble is told by the GET that follows.
        _ => Ok(None),
    }
}

async fn manifest(
    app: &App,
    source: &Source<'_>,
    name: &Name,
    reference: &WireReference,
) -> Result<(Manifest, Digest)> {
    source.registry.manifest(&source.name.repository, reference).await.map_err(|error| {
        let familiar = name.familiar_repository(&app.settings);
        match error {
            RemoteError::NotFound { message } => Error::engine(
                Kind::NotFound,
                format!("manifest for {} not found: {message}", name.familiar(&app.settings)),
            ),
            RemoteError::Unauthorized { message } | RemoteError::Denied { message } => Error::engine(
                Kind::Denied,
                format!(
                    "pull access denied for {familiar}, repository does not exist or may require 'docker login': {message}"
                ),
            ),
            other => other.into(),
        }
    })
}

/// Gets the configuration: small, so it is read whole and checked before anything else is fetched.
async fn fetch_config(source: &Source<'_>, manifest: &Manifest, content: &Content) -> Result<ImageConfig> {
    let descriptor = manifest.config().ok_or_else(|| {
        Error::engine(
            Kind::Unsupported,
            format!("{} is not an image: its manifest has no config", source.name),
        )
    })?;
    plan::check_config_type(descriptor.media_type.as_str())?;
    if content.size(&descriptor.digest).is_some()
        && let Ok(bytes) = content.read(&descriptor.digest, MAX_CONFIG_BYTES)
    {
        return ImageConfig::parse(&bytes);
    }
    if descriptor.size > MAX_CONFIG_BYTES {
        return Err(Error::new(
            Kind::Damaged,
            format!(
                "the image's configuration has {} bytes, more than {MAX_CONFIG_BYTES}",
                descriptor.size
            ),
        ));
    }
    let mut download = source
        .registry
        .blob(&source.name.repository, &descriptor.digest, 0)
        .await?;
    let mut bytes = Vec::new();
    while let Some(piece) = download.next().await? {
        bytes.extend_from_slice(&piece);
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > descriptor.size {
            break;
        }
    }
    let found = Digest::of(descriptor.digest.algorithm(), &bytes);
    if found != descriptor.digest {
        return Err(fetch::wrong_digest(&descriptor.digest, &found));
    }
    let config = ImageConfig::parse(&bytes)?;
    content.put_as(&descriptor.digest, &bytes)?;
    Ok(config)
}

fn check_platform(name: &Name, config: &ImageConfig, wanted: &Platform) -> Result<()> {
    let offered = Platform {
        architecture: config.architecture.clone(),
        os: config.os.clone(),
        variant: Some(config.variant.clone()).filter(|variant| !variant.is_empty()),
        os_version: None,
    };
    // An image that does not say what it is for is taken at its word.
    if config.architecture.is_empty() || platform::rank(&offered, wanted).is_some() {
        return Ok(());
    }
    Err(Error::engine(
        Kind::Unsupported,
        format!(
            "image with reference {name} was found but does not provide the specified platform ({})",
            platform::shown(wanted)
        ),
    )
    .hint(format!(
        "It is for {0}; to have it all the same, say --platform {0}.",
        platform::shown(&offered)
    )))
}

fn offered(index: &Manifest) -> String {
    let platforms: Vec<String> = index
        .manifests()
        .iter()
        .filter_map(|descriptor| descriptor.platform.as_ref())
        .filter(|platform| platform.os != "unknown")
        .map(platform::shown)
        .collect();
    if platforms.is_empty() {
        "no platform".to_owned()
    } else {
        platforms.join(", ")
    }
}

fn blob_of(manifest: &Manifest, digest: &Digest) -> Blob {
    Blob {
        media_type: manifest.media_type().to_string(),
        digest: digest.clone(),
        size_bytes: u64::try_from(manifest.bytes().len()).unwrap_or(u64::MAX),
    }
}
