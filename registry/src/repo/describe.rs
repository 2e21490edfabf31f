//! What a pushed manifest says of its repository.

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use wharf_protocol::manifest::{Descriptor, Manifest};
use wharf_protocol::media_type::{DOCKER_CONFIG, OCI_CONFIG};
use wharf_protocol::name::RepositoryName;

use super::blob::key;
use super::{Error, Repo};
use crate::blobs::Content;
use crate::metadata::{Description, DescriptionSource};

/// The annotation and the label that hold a description (image-spec, "Pre-Defined Annotation Keys").
const KEY: &str = "org.opencontainers.image.description";
/// The annotation that holds a file's name.
const TITLE: &str = "org.opencontainers.image.title";
/// How much of a README is looked at.
const README_BYTES: u64 = 4096;
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
    /// Finds a description in the manifest's annotations, else in the image's labels, else in a README.
    pub(super) async fn describe(
        &self,
        name: &RepositoryName,
        manifest: &Manifest,
    ) -> Result<Option<Description>, Error> {
        let described = |source, text: &str| {
            Some(Description {
                source,
                text: one_line(text),
            })
        };
        if let Some(text) = manifest.annotations().get(KEY) {
            return Ok(described(DescriptionSource::Annotation, text));
        }
        if let Some(text) = self.label(name, manifest).await? {
            return Ok(described(DescriptionSource::Label, &text));
        }
        let Some(layer) = manifest.layers().iter().find(|layer| is_readme(layer)) else {
            return Ok(None);
        };
        let Some(bytes) = self.beginning(name, layer, README_BYTES).await? else {
            return Ok(None);
        };
        // The last character may be cut.
        let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let line = text
            .lines()
            .map(|line| line.trim().trim_start_matches('#').trim());
        let line = line.into_iter().find(|line| !line.is_empty());
        Ok(line.and_then(|line| described(DescriptionSource::Readme, line)))
    }

    async fn label(&self, name: &RepositoryName, manifest: &Manifest) -> Result<Option<String>, Error> {
        let Some(config) = manifest.config() else {
            return Ok(None);
        };
        let is_image = [OCI_CONFIG, DOCKER_CONFIG].contains(&config.media_type.as_str());
        if !is_image || config.size > LARGEST_CONFIG_BYTES {
            return Ok(None);
        }
        let bytes = self.beginning(name, config, LARGEST_CONFIG_BYTES).await?;
        let config = bytes.and_then(|bytes| serde_json::from_slice::<ImageConfig>(&bytes).ok());
        let labels = config
            .and_then(|config| config.config)
            .and_then(|execution| execution.labels);
        Ok(labels.and_then(|mut labels| labels.remove(KEY)))
    }

    /// Reads a blob's first bytes. A missing blob is for the push itself to refuse.
    async fn beginning(
        &self,
        name: &RepositoryName,
        content: &Descriptor,
        most: u64,
    ) -> Result<Option<Bytes>, Error> {
        let Some(blob) = self.metadata.blob(name, &content.digest).await? else {
            return Ok(None);
        };
        let range = 0..blob.size.min(most);
        Ok(Some(
            read(self.blobs.open(&key(&blob.object_key)?, range).await?).await?,
        ))
    }
}

/// Whether a layer is a README as it is, as `oras push` makes them: a file of that name (image-spec,
/// `org.opencontainers.image.title`), or Markdown.
fn is_readme(layer: &Descriptor) -> bool {
    let title = layer
        .annotations
        .get(TITLE)
        .map(|title| title.to_ascii_lowercase());
    let named = title.is_some_and(|title| ["readme", "readme.md", "readme.txt"].contains(&title.as_str()));
    named || layer.media_type.as_str() == "text/markdown"
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
                .map_err(|error| Error::fault("reading what describes a repository", error))?;
            read.map_err(|error| Error::fault("reading what describes a repository", error))
        }
        Content::Stream(mut stream) => {
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                bytes.extend_from_slice(
                    &piece.map_err(|error| Error::fault("reading what describes a repository", error))?,
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
