//! An object's bytes on their way out.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult};

use super::super::{BodyError, ByteStream};
use super::{Bucket, length};

/// How often in a row an answer may break off before any byte of it has come.
const FRUITLESS: u32 = 3;

/// Asks for a part of an object.
pub(super) async fn get(
    bucket: &dyn Bucket,
    path: &Path,
    range: Range<u64>,
) -> object_store::Result<GetResult> {
    let options = GetOptions {
        range: Some(GetRange::Bounded(range)),
        ..GetOptions::default()
    };
    bucket.get_opts(path, options).await
}

/// Streams the rest of an answer for bytes `range` of an object. Where it breaks off, the rest is asked for again: an
/// object never changes. Ends after the last byte or with an error.
pub(super) fn stream(
    bucket: Arc<dyn Bucket>,
    path: Path,
    range: Range<u64>,
    answer: GetResult,
) -> ByteStream<'static> {
    let reading = Reading {
        bucket,
        path,
        left: range,
        pieces: answer.into_stream(),
        fruitless: 0,
    };
    Box::pin(stream::try_unfold(reading, |mut reading| async move {
        let piece = reading.next().await?;
        Ok(piece.map(|piece| (piece, reading)))
    }))
}

struct Reading {
    bucket: Arc<dyn Bucket>,
    path: Path,
    left: Range<u64>,
    pieces: BoxStream<'static, object_store::Result<Bytes>>,
    fruitless: u32,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while !self.left.is_empty() {
            let broken: BodyError = match self.pieces.next().await {
                Some(Ok(piece)) if length(&piece) > self.left.end - self.left.start => {
                    return Err("the store sent more than was asked for".into());
                }
                Some(Ok(piece)) => {
                    self.left.start += length(&piece);
                    self.fruitless = 0;
                    return Ok(Some(piece));
                }
                None => "the store's answer broke off".into(),
                Some(Err(error)) => error.into(),
            };
            self.fruitless += 1;
            if self.fruitless > FRUITLESS {
                return Err(broken);
            }
            tracing::debug!(error = broken, path = %self.path, "the rest of an object is asked for again");
            let answer = get(&*self.bucket, &self.path, self.left.clone()).await?;
            self.pieces = answer.into_stream();
        }
        Ok(None)
    }
}
