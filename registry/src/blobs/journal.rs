//! Where a store writes down what it is about to make.

use super::{BlobError, BoxFuture, Staged};

/// Writes a session's [`Staged`] into its row in the middle of a call, so that no crash leaves bytes that no row
/// names: whoever ends the session later finds them there.
///
/// A store calls it before it makes what only this state names, seldom more than once a call.
pub trait Journal: Send + Sync {
    /// Makes `staged` the session's in its row; offset and hash stay as they are, and so do the bytes they tell of.
    ///
    /// # Errors
    /// [`BlobError::Busy`] if the session is not the caller's any more. Whatever the error, the call ends with it.
    fn note<'a>(&'a self, staged: &'a Staged) -> BoxFuture<'a, Result<(), BlobError>>;
}

/// Keeps nothing: for a session that has no row.
#[derive(Debug, Clone, Copy)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn note<'a>(&'a self, _staged: &'a Staged) -> BoxFuture<'a, Result<(), BlobError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
