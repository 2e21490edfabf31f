//! A body whose small pieces come together.
//!
//! A client chooses how large the pieces of its body are: by the chunks of HTTP/1.1, by the frames of HTTP/2. What keeps
//! pieces until there is enough of them would pay more for a piece of one byte than for the byte.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// A piece of this size is passed on as it is.
const LARGE_BYTES: usize = 1024;

/// Smaller ones are gathered up to this, or until the client pauses.
const GATHERED_BYTES: usize = 16 * 1024;

/// A body that gives small pieces together.
pub(super) struct Gathered<B: Body> {
    body: B,
    /// What came after the pieces that were gathered.
    next: Option<Next<B::Error>>,
}

enum Next<E> {
    Frame(Result<Frame<Bytes>, E>),
    End,
}

impl<B: Body> Gathered<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, next: None }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Gathered<B>
where
    B::Error: Unpin,
{
    /// Gathers what is there already after a small piece.
    fn gather(&mut self, cx: &mut Context<'_>, first: Bytes) -> Bytes {
        let mut more = BytesMut::new();
        while first.len().max(more.len()) < GATHERED_BYTES {
            let next = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => Next::End,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) if piece.len() < LARGE_BYTES => {
                        if more.is_empty() {
                            more.extend_from_slice(&first);
                        }
                        more.extend_from_slice(&piece);
                        continue;
                    }
                    Ok(piece) => Next::Frame(Ok(Frame::data(piece))),
                    Err(trailers) => Next::Frame(Ok(trailers)),
                },
                Poll::Ready(Some(Err(error))) => Next::Frame(Err(error)),
            };
            self.next = Some(next);
            break;
        }
        if more.is_empty() { first } else { more.freeze() }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Gathered<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.next.take() {
            Some(Next::Frame(frame)) => return Poll::Ready(Some(frame)),
            Some(Next::End) => {
                self.next = Some(Next::End);
                return Poll::Ready(None);
            }
            None => {}
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let data = match frame.map(Frame::into_data) {
            Ok(Ok(data)) if data.len() < LARGE_BYTES => self.gather(cx, data),
            Ok(Ok(data)) => data,
            Ok(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.next {
            Some(Next::End) => true,
            Some(Next::Frame(_)) => false,
            None => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.next {
            // What was gathered is not yet counted off by whoever reads, so the inner hint would be too small.
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    type Piece = Result<Frame<Bytes>, &'static str>;

    async fn sizes(pieces: Vec<Piece>) -> (Vec<usize>, Vec<u8>, Option<&'static str>) {
        let mut body = Gathered::new(StreamBody::new(stream::iter(pieces)));
        let (mut sizes, mut all) = (Vec::new(), Vec::new());
        loop {
            match body.frame().await {
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap();
                    sizes.push(data.len());
                    all.extend_from_slice(&data);
                }
                Some(Err(error)) => return (sizes, all, Some(error)),
                None => return (sizes, all, None),
            }
        }
    }

    fn piece(byte: u8, length: usize) -> Piece {
        Ok(Frame::data(vec![byte; length].into()))
    }

    #[tokio::test]
    async fn single_bytes_come_in_large_pieces() {
        let pieces = (0..40_000).map(|n| piece(u8::try_from(n % 251).unwrap(), 1));
        let (sizes, all, _) = sizes(pieces.collect()).await;
        assert_eq!(sizes, [16_384, 16_384, 7_232]);
        let sent: Vec<u8> = (0..40_000).map(|n| u8::try_from(n % 251).unwrap()).collect();
        assert!(all == sent);
    }

    #[tokio::test]
    async fn large_pieces_keep_their_size_and_order_among_small_ones() {
        let pieces = vec![
            piece(1, 3),
            piece(2, 5000),
            piece(3, 2),
            piece(4, 4),
            piece(5, 9000),
        ];
        let (sizes, all, _) = sizes(pieces).await;
        assert_eq!(sizes, [3, 5000, 6, 9000]);
        assert_eq!((all[0], all[3], all[5003], all[5005], all[5009]), (1, 2, 3, 4, 5));
    }

    #[tokio::test]
    async fn what_came_before_an_error_comes_before_it() {
        let pieces = vec![piece(1, 3), piece(1, 4), Err("cut"), piece(1, 5)];
        assert_eq!(sizes(pieces).await, (vec![7], vec![1; 7], Some("cut")));
    }
}
