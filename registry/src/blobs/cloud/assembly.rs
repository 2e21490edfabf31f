//! An upload's bytes on their way into parts.

use std::future::Future;
use std::pin::pin;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::PutPayload;
use object_store::multipart::PartId;
use uuid::Uuid;
use wharf_protocol::digest::Hasher;

use super::super::{BlobError, BodyError, ByteStream, Journal, Key, Multipart, Part, Staged, Tail};
use super::memory::Held;
use super::plan::MOST_PARTS;
use super::{Cloud, failed, length};

/// How many parts of one upload are on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// How many tails an upload may have between two calls; then they are made one.
const MOST_TAILS: usize = 16;

/// How many tails are read at once.
const TAILS_AT_ONCE: usize = 4;

/// A multipart upload being put together.
///
/// Its bytes are, in this order: in parts that are written or on their way, in tails, and waiting in memory. Tails and
/// what waits are fewer than the next part shall hold.
pub(super) struct Assembly<'a> {
    cloud: &'a Cloud,
    key: Key,
    journal: &'a dyn Journal,
    /// What the session's row says.
    row: Multipart,
    id: Option<String>,
    parts: Vec<Part>,
    in_flight: FuturesOrdered<BoxFuture<'a, Result<Part, BlobError>>>,
    tails: Vec<Tail>,
    waiting: Vec<Bytes>,
    waiting_bytes: u64,
    held: Held,
    /// Objects that this call made.
    made: Vec<String>,
    pub(super) hasher: Hasher,
}

impl<'a> Assembly<'a> {
    /// Takes an upload up where its row stands.
    pub(super) fn new(
        cloud: &'a Cloud,
        key: Key,
        journal: &'a dyn Journal,
        row: Multipart,
        hasher: Hasher,
    ) -> Self {
        Self {
            cloud,
            key,
            journal,
            id: row.id.clone(),
            parts: row.parts.clone(),
            in_flight: FuturesOrdered::new(),
            tails: row.tails.clone(),
            row,
            waiting: Vec::new(),
            waiting_bytes: 0,
            held: Held::default(),
            made: Vec::new(),
            hasher,
        }
    }

    /// Takes a stream's bytes, `at_most` so many; returns how many came, and why the stream broke off if it did.
    pub(super) async fn take_all(
        &mut self,
        mut bytes: ByteStream<'_>,
        at_most: u64,
    ) -> Result<(u64, Option<BodyError>), BlobError> {
        let mut taken = 0;
        loop {
            let piece = tokio::select! {
                biased;
                piece = bytes.next() => piece,
                Some(part) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.parts.push(part?);
                    continue;
                }
                // The client sends nothing, and others could go on with the room.
                () = self.cloud.memory.wanted(), if self.waiting_bytes > 0 => {
                    self.set_aside().await?;
                    continue;
                }
            };
            let piece = match piece {
                None => return Ok((taken, None)),
                Some(Err(cut)) => return Ok((taken, Some(cut))),
                Some(Ok(piece)) => piece,
            };
            taken += length(&piece);
            if taken > at_most {
                return Err(BlobError::TooLarge { limit_bytes: at_most });
            }
            self.take(piece).await?;
        }
    }

    /// Takes new bytes in, and begins a part when there are enough for one.
    async fn take(&mut self, mut piece: Bytes) -> Result<(), BlobError> {
        self.hasher.update(&piece);
        while !piece.is_empty() {
            let room = self.part_bytes().saturating_sub(self.loose_bytes());
            let now = piece.split_to(usize::try_from(room).unwrap_or(usize::MAX).min(piece.len()));
            if !now.is_empty() {
                self.make_room(length(&now)).await?;
                self.waiting_bytes += length(&now);
                self.waiting.push(now);
            }
            if self.loose_bytes() >= self.part_bytes() {
                self.begin_part().await?;
            }
        }
        Ok(())
    }

    fn parts_begun(&self) -> usize {
        self.parts.len() + self.in_flight.len()
    }

    /// How many bytes the next part shall hold.
    fn part_bytes(&self) -> u64 {
        self.cloud.plan.part_bytes(self.parts_begun())
    }

    /// How many bytes are in no part.
    fn loose_bytes(&self) -> u64 {
        self.waiting_bytes + self.tail_bytes()
    }

    fn tail_bytes(&self) -> u64 {
        self.tails.iter().map(|tail| tail.size).sum()
    }

    /// Makes sure that `bytes` more may wait in memory; what waits there gives way if there is no room.
    async fn make_room(&mut self, bytes: u64) -> Result<(), BlobError> {
        if self.held.covers(self.waiting_bytes + bytes) {
            return Ok(());
        }
        if let Some(more) = self.cloud.memory.try_hold(bytes) {
            self.held.add(more);
            return Ok(());
        }
        // The parts on their way need nothing more, and give back what they hold.
        while let Some(part) = self.in_flight.next().await {
            self.parts.push(part?);
            if let Some(more) = self.cloud.memory.try_hold(bytes) {
                self.held.add(more);
                return Ok(());
            }
        }
        self.set_aside().await?;
        self.held = self.cloud.memory.hold(bytes).await;
        Ok(())
    }

    /// Waits for some work while parts are on their way.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, BlobError> {
        let mut work = pin!(work);
        while !self.in_flight.is_empty() {
            tokio::select! {
                done = &mut work => return Ok(done),
                Some(part) = self.in_flight.next() => self.parts.push(part?),
            }
        }
        Ok(work.await)
    }

    /// Writes what waits in memory as a tail.
    pub(super) async fn set_aside(&mut self) -> Result<(), BlobError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let object = self.tail_name();
        self.made.push(object.clone());
        self.note().await?;
        let payload: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
        let (cloud, path) = (self.cloud, self.cloud.path(&object));
        let put = cloud.bucket.put_opts(&path, payload, Default::default());
        let put = self.meanwhile(put).await?;
        put.map_err(|error| failed("writing", &path, error))?;
        self.tails.push(Tail {
            object,
            size: self.waiting_bytes,
        });
        self.waiting_bytes = 0;
        self.held = Held::default();
        Ok(())
    }

    /// Makes a name that no other tail has. One that begins the upload may become the blob, so it is named as one.
    fn tail_name(&self) -> String {
        if self.parts_begun() > 0 || !self.tails.is_empty() {
            return format!("uploads/{}/{}", self.key.ulid(), Uuid::new_v4());
        }
        let random = Uuid::new_v4().as_u128();
        self.key.sibling(random).to_string()
    }

    /// Reads the tails back, in front of what waits.
    async fn gather(&mut self) -> Result<(), BlobError> {
        if self.tails.is_empty() {
            return Ok(());
        }
        match self.cloud.memory.try_hold(self.tail_bytes()) {
            Some(more) => self.held.add(more),
            None => {
                self.set_aside().await?;
                self.held = self.meanwhile(self.cloud.memory.hold(self.tail_bytes())).await?;
            }
        }
        let (cloud, tails) = (self.cloud, std::mem::take(&mut self.tails));
        let reading = stream::iter(tails)
            .map(|tail| async move { cloud.read_tail(&tail).await })
            .buffered(TAILS_AT_ONCE)
            .try_collect::<Vec<Bytes>>();
        let mut gathered = self.meanwhile(reading).await??;
        self.waiting_bytes += gathered.iter().map(length).sum::<u64>();
        gathered.append(&mut self.waiting);
        self.waiting = gathered;
        Ok(())
    }

    /// Sets the next part on its way, of all that is in none; nothing if that is nothing.
    async fn begin_part(&mut self) -> Result<(), BlobError> {
        self.gather().await?;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let index = self.parts_begun();
        if index >= MOST_PARTS {
            return Err(BlobError::TooLarge {
                limit_bytes: self.cloud.plan.object_bytes(),
            });
        }
        while self.in_flight.len() >= PARTS_AT_ONCE {
            if let Some(part) = self.in_flight.next().await {
                self.parts.push(part?);
            }
        }
        let id = self.multipart().await?;
        let (cloud, object) = (self.cloud, self.cloud.object(&self.key));
        let payload: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
        let (size, held) = (self.waiting_bytes, std::mem::take(&mut self.held));
        self.waiting_bytes = 0;
        self.in_flight.push_back(Box::pin(async move {
            let written = cloud.bucket.put_part(&object, &id, index, payload).await;
            drop(held);
            match written {
                Ok(part) => Ok(Part {
                    id: part.content_id,
                    size,
                }),
                // The store does not know an upload that it once began: it was aborted, or expired there.
                Err(object_store::Error::NotFound { .. }) => Err(BlobError::SessionLost),
                Err(error) => Err(failed("writing a part of", &object, error)),
            }
        }));
        Ok(())
    }

    /// Returns the multipart upload's id. One that is begun here is in the row before it has a part.
    async fn multipart(&mut self) -> Result<String, BlobError> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let object = self.cloud.object(&self.key);
        let begun = self.cloud.bucket.create_multipart(&object).await;
        let id = begun.map_err(|error| failed("beginning", &object, error))?;
        self.id = Some(id.clone());
        if let Err(error) = self.note().await {
            self.cloud.abort_multipart(self.key, &id).await?;
            return Err(error);
        }
        Ok(id)
    }

    /// Writes down what there is now besides what the row tells of.
    async fn note(&mut self) -> Result<(), BlobError> {
        let mut row = self.row.clone();
        row.id = self.id.clone();
        row.stale.extend(self.made.iter().cloned());
        let (journal, staged) = (self.journal, Staged::Multipart(row));
        journal.note(&staged).await
    }

    async fn land(&mut self) -> Result<(), BlobError> {
        while let Some(part) = self.in_flight.next().await {
            self.parts.push(part?);
        }
        Ok(())
    }

    /// Makes all bytes durable where the next call finds them; returns what the row shall say.
    pub(super) async fn set_down(mut self) -> Result<(Staged, Hasher), BlobError> {
        self.set_aside().await?;
        if self.tails.len() > MOST_TAILS {
            self.gather().await?;
            self.set_aside().await?;
        }
        self.land().await?;
        Ok(self.into_state())
    }

    /// As [`set_down`](Self::set_down), when nothing follows: so the last part may be small.
    pub(super) async fn set_down_last(mut self) -> Result<(Staged, Hasher), BlobError> {
        if self.parts_begun() == 0 {
            self.gather().await?;
            self.set_aside().await?;
        } else {
            self.begin_part().await?;
            self.land().await?;
        }
        Ok(self.into_state())
    }

    fn into_state(self) -> (Staged, Hasher) {
        let unneeded = |name: &String| self.tails.iter().all(|tail| tail.object != *name);
        let before = self.row.tails.iter().map(|tail| tail.object.clone());
        let stale = self.row.stale.into_iter().chain(before);
        let stale = stale.chain(self.made).filter(unneeded).collect();
        let row = Multipart {
            id: self.id,
            parts: self.parts,
            stale,
            tails: self.tails,
        };
        (Staged::Multipart(row), self.hasher)
    }

    /// Makes all bytes the object that has the session's name.
    pub(super) async fn complete(&mut self) -> Result<(), BlobError> {
        let object = self.cloud.object(&self.key);
        if self.parts_begun() == 0 && self.id.is_none() {
            self.gather().await?;
            let payload: PutPayload = std::mem::take(&mut self.waiting).into_iter().collect();
            let put = self.cloud.bucket.put_opts(&object, payload, Default::default());
            return put
                .await
                .map(drop)
                .map_err(|error| failed("writing", &object, error));
        }
        self.begin_part().await?;
        self.land().await?;
        let Some(id) = &self.id else { return Ok(()) };
        let parts = self.parts.iter().map(|part| PartId {
            content_id: part.id.clone(),
        });
        let completed = self.cloud.bucket.complete_multipart(&object, id, parts.collect());
        completed
            .await
            .map(drop)
            .map_err(|error| failed("completing", &object, error))
    }

    /// Returns the names of the objects that were made on the way.
    pub(super) fn made(&self) -> &[String] {
        &self.made
    }

    /// Throws away what this call made, the object too: it may be there though its completion failed.
    pub(super) async fn give_up(mut self) {
        // What is on its way would arrive behind the abort.
        self.in_flight.clear();
        if let Some(id) = &self.id
            && let Err(error) = self.cloud.abort_multipart(self.key, id).await
        {
            tracing::warn!(%error, key = %self.key, "an upload's parts could not be thrown away");
        }
        self.made.push(self.key.to_string());
        self.cloud.discard(&self.made).await;
    }
}
