//! An upload's bytes on their way into parts.

use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;
use object_store::path::Path;
use tokio::sync::OwnedSemaphorePermit;
use wharf_protocol::digest::Hasher;

use super::super::{BlobError, Journal, Part, Staged};
use super::{Cloud, failed, length, plan};

/// A multipart upload being put together: parts that are written, and bytes that wait until they are enough for one.
pub(super) struct Assembly<'a> {
    cloud: &'a Cloud,
    object: Path,
    journal: &'a dyn Journal,
    /// What the session's row says.
    row: Staged,
    pub(super) id: Option<String>,
    pub(super) parts: Vec<Part>,
    pub(super) waiting: Vec<Bytes>,
    pub(super) waiting_bytes: u64,
    pub(super) hasher: Hasher,
    /// The right to hold what waits.
    permit: Option<OwnedSemaphorePermit>,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(
        cloud: &'a Cloud,
        object: Path,
        journal: &'a dyn Journal,
        row: Staged,
        hasher: Hasher,
    ) -> Self {
        let (id, parts) = match &row {
            Staged::Multipart { id, parts, .. } => (id.clone(), parts.clone()),
            Staged::Nothing | Staged::File => (None, Vec::new()),
        };
        Self {
            cloud,
            object,
            journal,
            row,
            id,
            parts,
            waiting: Vec::new(),
            waiting_bytes: 0,
            hasher,
            permit: None,
        }
    }

    /// Takes bytes in that were hashed before: the tail of an earlier call.
    pub(super) async fn restore(&mut self, tail: Bytes) -> Result<(), BlobError> {
        self.hold().await?;
        self.waiting_bytes += length(&tail);
        self.waiting.push(tail);
        Ok(())
    }

    /// Takes new bytes in, and writes a part if there are enough for one.
    pub(super) async fn take(&mut self, mut piece: Bytes) -> Result<(), BlobError> {
        self.hasher.update(&piece);
        while !piece.is_empty() {
            self.hold().await?;
            let wanted = plan::part_bytes(self.parts.len()).saturating_sub(self.waiting_bytes);
            let now = piece.split_to(usize::try_from(wanted).unwrap_or(usize::MAX).min(piece.len()));
            self.waiting_bytes += length(&now);
            self.waiting.push(now);
            if length(&piece) > 0 || self.waiting_bytes >= plan::part_bytes(self.parts.len()) {
                self.write_part().await?;
            }
        }
        Ok(())
    }

    /// Waits for room in memory for a part, unless it is held already.
    async fn hold(&mut self) -> Result<(), BlobError> {
        if self.permit.is_none() {
            let bytes = plan::part_bytes(self.parts.len());
            self.permit = Some(self.cloud.room_for(bytes).await?);
        }
        Ok(())
    }

    /// Writes what waits as the next part; nothing if nothing waits.
    pub(super) async fn write_part(&mut self) -> Result<(), BlobError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let begun = self.cloud.bucket.create_multipart(&self.object).await;
                let id = begun.map_err(|error| failed("beginning", &self.object, error))?;
                self.id = Some(id.clone());
                self.note(None).await?;
                id
            }
        };
        let payload: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
        let written = self
            .cloud
            .bucket
            .put_part(&self.object, &id, self.parts.len(), payload)
            .await;
        let part = written.map_err(|error| self.lost_or("writing a part of", error))?;
        self.parts.push(Part {
            id: part.content_id,
            size: self.waiting_bytes,
        });
        self.waiting_bytes = 0;
        self.permit = None;
        Ok(())
    }

    /// Writes down that there is a multipart upload now, and perhaps an `object` soon.
    pub(super) async fn note(&self, object: Option<&str>) -> Result<(), BlobError> {
        let (parts, tail, mut stale) = match self.row.clone() {
            Staged::Multipart {
                parts, tail, stale, ..
            } => (parts, tail, stale),
            Staged::Nothing | Staged::File => Default::default(),
        };
        stale.extend(object.map(str::to_owned));
        let staged = Staged::Multipart {
            id: self.id.clone(),
            parts,
            tail,
            stale,
        };
        self.journal.note(&staged).await
    }

    /// Completes the object: of its parts and what waits, or of what waits alone if that is all.
    pub(super) async fn complete(&mut self) -> Result<(), BlobError> {
        if self.id.is_none() {
            let payload: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
            let put = self
                .cloud
                .bucket
                .put_opts(&self.object, payload, Default::default())
                .await;
            return put
                .map(drop)
                .map_err(|error| failed("writing", &self.object, error));
        }
        self.write_part().await?;
        let Some(id) = &self.id else { return Ok(()) };
        let parts = self.parts.iter().map(|part| object_store::multipart::PartId {
            content_id: part.id.clone(),
        });
        let completed = self
            .cloud
            .bucket
            .complete_multipart(&self.object, id, parts.collect())
            .await;
        completed
            .map(drop)
            .map_err(|error| failed("completing", &self.object, error))
    }

    /// The store does not know an upload that it once began: it was aborted, or expired there.
    fn lost_or(&self, doing: &'static str, error: object_store::Error) -> BlobError {
        match error {
            object_store::Error::NotFound { .. } => BlobError::SessionLost,
            error => failed(doing, &self.object, error),
        }
    }

    /// Throws the parts away.
    pub(super) async fn give_up(&self) {
        if let Some(id) = &self.id
            && let Err(error) = self.cloud.bucket.abort_multipart(&self.object, id).await
        {
            tracing::warn!(%error, object = %self.object, "an upload's parts could not be thrown away");
        }
    }
}

impl Cloud {
    /// Waits until memory has room for a part of `bytes`.
    async fn room_for(&self, bytes: u64) -> Result<OwnedSemaphorePermit, BlobError> {
        let units = u32::try_from(bytes.div_ceil(super::MEMORY_UNIT_BYTES)).unwrap_or(u32::MAX);
        let units = units.min(super::MEMORY_UNITS);
        Arc::clone(&self.memory)
            .acquire_many_owned(units)
            .await
            .map_err(|closed| BlobError::Io {
                doing: "waiting for",
                what: "memory".to_owned(),
                source: Box::new(closed),
            })
    }
}
