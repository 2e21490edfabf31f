//! What a pushed manifest says of its repository.

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use wharf_protocol::manifest::Manifest;
use wharf_protocol::media_type::{DOCKER_CONFIG, OCI_CONFIG};
use wharf_protocol::name::RepositoryName;

use super::blob::key;
use super::{Error, Repo};
use crate::blobs::Content;
use crate::metadata::{Description, DescriptionSource};

/// The annotation and the label that hold a description (image-spec, "Pre-Defined Annotation Keys").
const KEY: &str = "org.opencontainers.image.description";
/// How many characters of a description are kept.
const LONGEST: usize = 500;
/// An image's configuration that is larger is not read for its label.
const LARGEST_CONFIG_BYTES: u64 = 1 << 20;

/// The part of an image's configuration that is looked at.
#[derive(Deserialize)]
struct ImageConfig {
    config: Option<Execution>,
}

#[derive(Deserialize)]
struct Execution {
    #[serde(rename = "Labels")]
    labels: Option<std::collections::BTreeMap<String, String>>,
}

impl Repo {
    /// Finds a description in the manifest's annotations, else in the image's labels.
    pub(super) async fn describe(
        &self,
        name: &RepositoryName,
        manifest: &Manifest,
    ) -> Result<Option<Description>, Error> {
        if let Some(text) = manifest.annotations().get(KEY) {
            return Ok(Some(Description {
                source: DescriptionSource::Annotation,
                text: one_line(text),
            }));
        }
        let Some(config) = manifest.config() else {
            return Ok(None);
        };
        let is_image = [OCI_CONFIG, DOCKER_CONFIG].contains(&config.media_type.as_str());
        if !is_image || config.size > LARGEST_CONFIG_BYTES {
            return Ok(None);
        }
        // A missing blob is for the push itself to refuse.
        let Some(blob) = self.metadata.blob(name, &config.digest).await? else {
            return Ok(None);
        };
        if blob.size > LARGEST_CONFIG_BYTES {
            return Ok(None);
        }
        let bytes = read(self.blobs.open(&key(&blob.object_key)?, 0..blob.size).await?).await?;
        let config = serde_json::from_slice::<ImageConfig>(&bytes).ok();
        let labels = config
            .and_then(|config| config.config)
            .and_then(|execution| execution.labels);
        let text = labels.and_then(|mut labels| labels.remove(KEY));
        Ok(text.map(|text| Description {
            source: DescriptionSource::Label,
            text: one_line(&text),
        }))
    }
}

/// Reads a small object whole.
async fn read(content: Content) -> Result<Bytes, Error> {
    match content {
        Content::File { file, range } => {
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                let mut at = range.start;
                while at < range.end {
                    let mut piece = [0; 16 * 1024];
                    let got = std::os::unix::fs::FileExt::read_at(&*file, &mut piece, at)?;
                    let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(got);
                    let Some(piece) = piece.get(..wanted).filter(|piece| !piece.is_empty()) else {
                        break;
                    };
                    bytes.extend_from_slice(piece);
                    at += u64::try_from(wanted).unwrap_or(u64::MAX);
                }
                Ok::<_, std::io::Error>(Bytes::from(bytes))
            });
            let read = read
                .await
                .map_err(|error| Error::fault("reading an image's configuration", error))?;
            read.map_err(|error| Error::fault("reading an image's configuration", error))
        }
        Content::Stream(mut stream) => {
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                bytes.extend_from_slice(
                    &piece.map_err(|error| Error::fault("reading a configuration", error))?,
                );
            }
            Ok(Bytes::from(bytes))
        }
    }
}

fn one_line(text: &str) -> String {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
