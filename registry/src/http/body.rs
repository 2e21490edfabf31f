//! The bodies of requests.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use http_body::Body as _;

use super::buffers::{Buffers, Held};
use crate::blobs::{BodyError, ByteStream};

/// Why a small body was not read whole.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is larger than the limit.
    TooLarge,
    /// It broke off.
    Cut(BodyError),
    /// Others take all the memory there is for bodies.
    NoRoom,
}

/// Turns a body into the stream that the store takes.
pub(super) fn stream(body: Body) -> ByteStream<'static> {
    Box::pin(body.into_data_stream().map_err(|error| error.into_inner()))
}

/// As [`stream`]; `None` if it is known to be empty.
pub(super) fn stream_if_any(body: Body) -> Option<ByteStream<'static>> {
    if body.is_end_stream() {
        None
    } else {
        Some(stream(body))
    }
}

/// A body in memory, with the right to be there.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    _held: Held,
}

/// Reads a body whole, up to a limit. One that announces more is not read at all.
pub(super) async fn whole(body: Body, limit_bytes: usize, buffers: &Buffers) -> Result<Whole, Unread> {
    let announced = body.size_hint().lower();
    if announced > u64::try_from(limit_bytes).unwrap_or(u64::MAX) {
        return Err(Unread::TooLarge);
    }
    let mut pieces = stream(body);
    let mut held = Held::default();
    // Costs nothing before the bytes are there.
    let mut whole = BytesMut::with_capacity(usize::try_from(announced).unwrap_or_default());
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(Unread::Cut)?;
        let bytes = whole.len() + piece.len();
        if bytes > limit_bytes {
            return Err(Unread::TooLarge);
        }
        if buffers.grow(&mut held, bytes).await.is_err() {
            return Err(Unread::NoRoom);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Whole {
        bytes: whole.freeze(),
        _held: held,
    })
}
