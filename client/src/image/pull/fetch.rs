//! Carrying out a plan: layers side by side, each in one pass, then all made to exist at once.

use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::io::AsyncReadExt;
use wharf_protocol::digest::Digest;
use wharf_protocol::name::RepositoryName;

use super::plan::{LayerPlan, Plan, Step};
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::image::catalog::{Blob, Image};
use crate::image::content::{Content, Ingest};
use crate::image::layer::Pipeline;
use crate::image::snapshot::{Layer, Snapshots, Staged};
use crate::output::progress::Progress;
use crate::remote::{Registry, RemoteError};

/// How many layers are fetched side by side.
const SIDE_BY_SIDE: usize = 3;
/// How often in a row a download is gone on with without a byte of progress.
const TRIES: u32 = 5;
/// How much of a file is read at once.
const PIECE_BYTES: usize = 256 << 10;

/// A layer whose bytes are checked and whose files are written, not yet durable and not yet there.
#[derive(Debug)]
struct Ready {
    ingest: Option<Ingest>,
    staged: Option<(Staged, Layer)>,
}

struct Fetcher<'a> {
    registry: &'a Registry,
    repository: &'a RepositoryName,
    content: Content,
    snapshots: Snapshots,
    progress: &'a Progress,
}

/// Does what a plan says; returns the image, without its manifest's descriptor, once every layer exists.
pub(super) async fn carry_out(
    app: &App,
    registry: &Registry,
    repository: &RepositoryName,
    plan: &Plan,
    progress: &Progress,
) -> Result<Image> {
    let store = app.store()?;
    let fetcher = Fetcher {
        registry,
        repository,
        content: Content::of(store),
        snapshots: Snapshots::of(store),
        progress,
    };
    for layer in &plan.layers {
        progress.state(layer.blob.digest.short(), "Pulling fs layer");
    }
    let ready: Vec<Ready> = stream::iter(plan.layers.iter().map(|layer| fetcher.layer(layer)))
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    let (content, snapshots) = (fetcher.content.clone(), fetcher.snapshots.clone());
    in_background(move || make_exist(&content, &snapshots, ready)).await?;
    let mut size_bytes = 0_u64;
    for layer in &plan.layers {
        if layer.step != Step::Have {
            progress.state(layer.blob.digest.short(), "Pull complete");
        }
        let known = fetcher.snapshots.layer(&layer.chain_id)?;
        size_bytes = size_bytes.saturating_add(known.map_or(0, |layer| layer.size_bytes));
    }
    Ok(Image {
        id: plan.image.clone(),
        manifest: Blob {
            media_type: String::new(),
            digest: plan.image.clone(),
            size_bytes: 0,
        },
        layers: plan.layers.iter().map(|layer| layer.blob.clone()).collect(),
        chain_ids: plan.layers.iter().map(|layer| layer.chain_id.clone()).collect(),
        size_bytes,
    })
}

/// Makes blobs and layers durable, all with one sync, then lets them exist, the lowest first.
fn make_exist(content: &Content, snapshots: &Snapshots, ready: Vec<Ready>) -> Result<()> {
    if ready
        .iter()
        .all(|ready| ready.ingest.is_none() && ready.staged.is_none())
    {
        return Ok(());
    }
    for (staged, layer) in ready.iter().filter_map(|ready| ready.staged.as_ref()) {
        snapshots.describe(staged, layer)?;
    }
    snapshots.sync()?;
    for ready in ready {
        if let Some(ingest) = ready.ingest {
            ingest.keep()?;
        }
        if let Some((staged, layer)) = ready.staged {
            snapshots.commit_synced(staged, &layer)?;
        }
    }
    content.sync_folders()?;
    snapshots.sync_folder()
}

/// Runs what blocks on a thread of its own.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Kind::System, "a thread died").because(error))?
}

impl Fetcher<'_> {
    async fn layer(&self, plan: &LayerPlan) -> Result<Ready> {
        let row = plan.blob.digest.short();
        if plan.step == Step::Have {
            self.progress.state(row, "Already exists");
            return Ok(Ready {
                ingest: None,
                staged: None,
            });
        }
        let unpacks = matches!(plan.step, Step::Unpack | Step::FetchAndUnpack);
        let ingest = match plan.step {
            Step::Fetch | Step::FetchAndUnpack => {
                let (content, digest) = (self.content.clone(), plan.blob.digest.clone());
                in_background(move || content.ingest(&digest)).await?
            }
            Step::Have | Step::Unpack => None,
        };
        let (staged, pipeline) = if unpacks {
            let staged = self.snapshots.stage(&plan.chain_id)?;
            let files = OwnedFd::from(staged.open_files()?);
            (Some(staged), Some(Pipeline::start(files, plan.blob.size_bytes)?))
        } else {
            (None, None)
        };
        let ingest = match ingest {
            Some(ingest) => Some(self.fetch(plan, ingest, pipeline.as_ref()).await?),
            None => {
                let file = self.content.open(&plan.blob.digest)?;
                feed_file(file, pipeline.as_ref()).await?;
                None
            }
        };
        let (layer, ingest) = self.finish(plan, ingest, pipeline).await?;
        Ok(Ready {
            ingest,
            staged: staged.zip(layer),
        })
    }

    /// Lets the bytes arrive, those that are here from before first, and feeds them on.
    async fn fetch(
        &self,
        plan: &LayerPlan,
        mut ingest: Ingest,
        pipeline: Option<&Pipeline>,
    ) -> Result<Ingest> {
        let size = plan.blob.size_bytes;
        if ingest.offset() > size {
            ingest.restart()?;
        }
        if ingest.offset() > 0 && !feed_file(ingest.reader()?, pipeline).await? {
            return Ok(ingest);
        }
        let mut failures = 0;
        while ingest.offset() < size {
            let before = ingest.offset();
            let result = self.fetch_on(plan, &mut ingest, pipeline).await;
            let cut = match result {
                Ok(true) => break,
                Ok(false) => None,
                Err(Failed::Remote(error @ (RemoteError::Cut { .. } | RemoteError::Unreachable { .. }))) => {
                    Some(error)
                }
                Err(Failed::Remote(error)) => return Err(error.into()),
                Err(Failed::Local(error)) => return Err(error),
            };
            failures = if ingest.offset() > before { 0 } else { failures + 1 };
            if failures == TRIES {
                return Err(cut.map_or_else(
                    || {
                        Error::engine(
                            Kind::Registry,
                            format!(
                                "the registry sends only {} of the {size} bytes of {}",
                                ingest.offset(),
                                plan.blob.digest
                            ),
                        )
                    },
                    Error::from,
                ));
            }
            if failures > 0 {
                tokio::time::sleep(Duration::from_millis(200 << failures)).await;
            }
        }
        Ok(ingest)
    }

    /// One request's worth of bytes; `true` when nobody wants more.
    async fn fetch_on(
        &self,
        plan: &LayerPlan,
        ingest: &mut Ingest,
        pipeline: Option<&Pipeline>,
    ) -> Result<bool, Failed> {
        let (row, size) = (plan.blob.digest.short(), plan.blob.size_bytes);
        let mut download = self
            .registry
            .blob(self.repository, &plan.blob.digest, ingest.offset())
            .await?;
        // A registry without ranges sends the whole again.
        let mut skip = ingest.offset().saturating_sub(download.offset);
        while let Some(mut piece) = download.next().await? {
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            drop(piece.split_to(known));
            skip = skip.saturating_sub(u64::try_from(known).unwrap_or(0));
            if piece.is_empty() {
                continue;
            }
            ingest.append(&piece)?;
            self.progress.bytes(row, "Downloading", ingest.offset(), size);
            if ingest.offset() > size {
                let (arrived, digest) = (ingest.offset(), &plan.blob.digest);
                ingest.restart()?;
                return Err(Failed::Local(Error::engine(
                    Kind::Damaged,
                    format!(
                        "the layer {digest} has more than the {size} bytes that it should have ({arrived})"
                    ),
                )));
            }
            if let Some(pipeline) = pipeline
                && !pipeline.feed(piece).await
            {
                return Ok(true);
            }
        }
        Ok(ingest.offset() >= size)
    }

    /// Checks both digests. Bytes that are wrong are thrown away; bytes that are right are kept whatever
    /// else fails.
    async fn finish(
        &self,
        plan: &LayerPlan,
        ingest: Option<Ingest>,
        pipeline: Option<Pipeline>,
    ) -> Result<(Option<Layer>, Option<Ingest>)> {
        let row = plan.blob.digest.short();
        self.progress.state(row, "Verifying Checksum");
        let unpacked = match pipeline {
            Some(pipeline) => Some(in_background(move || Ok(pipeline.finish())).await?),
            None => None,
        };
        let complete = ingest
            .as_ref()
            .is_none_or(|ingest| ingest.offset() == plan.blob.size_bytes);
        if let Some(ingest) = ingest.as_ref().filter(|_| complete) {
            let found = ingest.found();
            if found != plan.blob.digest {
                ingest.discard()?;
                return Err(wrong_digest(&plan.blob.digest, &found));
            }
        }
        let layer = match unpacked {
            None => None,
            Some(Ok(unpacked)) if complete && unpacked.diff_id == plan.diff_id => Some(Layer {
                chain_id: plan.chain_id.clone(),
                diff_id: unpacked.diff_id,
                parent: plan.parent.clone(),
                size_bytes: unpacked.size_bytes,
            }),
            Some(Ok(unpacked)) => {
                discard(ingest.as_ref())?;
                return Err(Error::engine(
                    Kind::Damaged,
                    format!(
                        "the layer {} unpacks to the diff id {} and should have {}",
                        plan.blob.digest, unpacked.diff_id, plan.diff_id
                    ),
                ));
            }
            Some(Err(error)) => {
                if error.kind() == Kind::Damaged {
                    discard(ingest.as_ref())?;
                    return Err(
                        Error::engine(Kind::Damaged, format!("layer {}", plan.blob.digest)).because(error),
                    );
                }
                return Err(error);
            }
        };
        self.progress.state(row, "Download complete");
        Ok((layer, ingest))
    }
}

fn discard(ingest: Option<&Ingest>) -> Result<()> {
    ingest.map_or(Ok(()), Ingest::discard)
}

/// The error of bytes that are not what their digest says.
pub(crate) fn wrong_digest(wanted: &Digest, found: &Digest) -> Error {
    Error::engine(
        Kind::Damaged,
        format!("the blob {wanted} arrived with the digest {found}"),
    )
    .hint("The registry or something on the way changed it; nothing of it was kept.")
}

/// Feeds a file that is here; `false` when the threads have stopped.
async fn feed_file(file: std::fs::File, pipeline: Option<&Pipeline>) -> Result<bool> {
    let Some(pipeline) = pipeline else { return Ok(true) };
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(PIECE_BYTES);
    loop {
        let mut piece = bytes::BytesMut::with_capacity(PIECE_BYTES);
        let count = file
            .read_buf(&mut piece)
            .await
            .map_err(|error| Error::io("read a layer from the store", error))?;
        if count == 0 {
            return Ok(true);
        }
        if !pipeline.feed(Bytes::from(piece)).await {
            return Ok(false);
        }
    }
}

/// What ended a request.
enum Failed {
    Remote(RemoteError),
    Local(Error),
}

impl From<RemoteError> for Failed {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}
