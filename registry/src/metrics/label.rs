//! What numbers are told apart by. Each is an enum, or several.

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;

use crate::blobs::BlobError;
use crate::metadata;
use crate::operation::Kind;

/// What tells the numbers of one metric apart.
pub trait Label: Copy + std::fmt::Debug + 'static {
    /// Whether a number that is still nought is shown. A rate can only be seen from a number that was shown before, so
    /// this is `false` only where there are too many.
    const SHOWN_AT_NOUGHT: bool = true;

    /// Lists every value.
    fn every() -> impl Iterator<Item = Self>;

    /// Returns the value's place in [`every`](Self::every).
    fn index(self) -> usize;

    /// Returns the names and values that the page shows.
    fn pairs(self) -> impl EncodeLabelSet;
}

/// Defines an enum with a text for each variant.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            const EVERY: &[Self] = &[$(Self::$variant,)+];

            fn text(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

/// Makes an enum alone a label of this name.
macro_rules! label {
    ($name:ident as $shown:literal) => {
        impl Label for $name {
            fn every() -> impl Iterator<Item = Self> {
                Self::EVERY.iter().copied()
            }

            fn index(self) -> usize {
                self as usize
            }

            fn pairs(self) -> impl EncodeLabelSet {
                [($shown, self.text())]
            }
        }
    };
}

words! {
    /// A request's method.
    Method {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// PATCH.
        Patch = "PATCH",
        /// DELETE.
        Delete = "DELETE",
        /// Any other, for which the registry has no use.
        Other = "other",
    }
}

impl From<&http::Method> for Method {
    fn from(method: &http::Method) -> Self {
        match *method {
            http::Method::GET => Self::Get,
            http::Method::HEAD => Self::Head,
            http::Method::POST => Self::Post,
            http::Method::PUT => Self::Put,
            http::Method::PATCH => Self::Patch,
            http::Method::DELETE => Self::Delete,
            _ => Self::Other,
        }
    }
}

words! {
    /// The class of an answer's status.
    Status {
        /// 100 to 199.
        Informational = "1xx",
        /// 200 to 299.
        Success = "2xx",
        /// 300 to 399.
        Redirection = "3xx",
        /// 400 to 499.
        ClientError = "4xx",
        /// 500 and more.
        ServerError = "5xx",
    }
}

impl From<StatusCode> for Status {
    fn from(status: StatusCode) -> Self {
        match status.as_u16() {
            ..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

/// A request that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// What it asked for, if that was an operation.
    pub kind: Option<Kind>,
    /// Its method.
    pub method: Method,
    /// How it was answered.
    pub status: Status,
}

impl Label for Request {
    const SHOWN_AT_NOUGHT: bool = false;

    fn every() -> impl Iterator<Item = Self> {
        let kinds = std::iter::once(None).chain(Kind::EVERY.iter().copied().map(Some));
        kinds.flat_map(|kind| {
            Method::EVERY.iter().flat_map(move |&method| {
                Status::EVERY
                    .iter()
                    .map(move |&status| Self { kind, method, status })
            })
        })
    }

    fn index(self) -> usize {
        let kind = self.kind.map_or(0, |kind| kind as usize + 1);
        (kind * Method::EVERY.len() + self.method as usize) * Status::EVERY.len() + self.status as usize
    }

    fn pairs(self) -> impl EncodeLabelSet {
        [
            ("operation", self.kind.map_or("none", Kind::name)),
            ("method", self.method.text()),
            ("status", self.status.text()),
        ]
    }
}

words! {
    /// What became of an upload.
    UploadEvent {
        /// A session began, or a blob came without one.
        Started = "started",
        /// It became a blob.
        Finished = "finished",
        /// A request with its bytes was refused or broke off; a session may go on after it.
        Failed = "failed",
        /// Its client gave it up.
        Cancelled = "cancelled",
        /// Nobody went on with it for as long as an upload may wait.
        Expired = "expired",
    }
}
label!(UploadEvent as "event");

words! {
    /// Why a caller was not taken for who they say.
    BadLogin {
        /// The name or the password is wrong, or what was shown can't be read.
        Credentials = "credentials",
        /// The token is not ours, has expired, or its user has changed.
        Token = "token",
        /// Too many wrong passwords came before this one.
        Throttled = "throttled",
    }
}
label!(BadLogin as "reason");

words! {
    /// Where something is kept.
    Store {
        /// The bytes of blobs.
        Blobs = "blobs",
        /// The rows.
        Metadata = "metadata",
    }
}

words! {
    /// What failed in a store.
    Fault {
        /// It does not answer.
        Unavailable = "unavailable",
        /// It has no space left.
        Full = "full",
        /// It takes no writes until a restart, after a failed sync.
        WritesStopped = "writes_stopped",
        /// What it should hold is missing or damaged.
        Damaged = "damaged",
        /// Anything else.
        Other = "other",
    }
}

impl Fault {
    /// Returns what failed in the database, if it did and does not only refuse.
    pub fn of_database(error: &metadata::Error) -> Option<Self> {
        use metadata::Error as M;
        match error {
            M::Unavailable(_) => Some(Self::Unavailable),
            M::Full(_) => Some(Self::Full),
            M::WritesStopped(_) => Some(Self::WritesStopped),
            M::Corrupt { .. } => Some(Self::Damaged),
            M::Open { .. } | M::Newer { .. } | M::Io { .. } => Some(Self::Other),
            M::ReferencesMissing(_)
            | M::PreconditionFailed { .. }
            | M::RepositoryUnknown
            | M::BlobInUse { .. }
            | M::UploadUnknown
            | M::UploadBusy
            | M::UploadMoved { .. }
            | M::TooManyUploads { .. }
            | M::UserExists(_)
            | M::UserUnknown(_) => None,
        }
    }

    /// Returns what failed in the storage of blobs, if it did and does not only refuse.
    pub fn of_blobs(error: &BlobError) -> Option<Self> {
        match error {
            BlobError::Missing { .. } | BlobError::SessionLost => Some(Self::Damaged),
            // A session's row could not be written.
            BlobError::Unavailable { source, .. } if source.is::<metadata::Error>() => None,
            BlobError::Unavailable { .. } => Some(Self::Unavailable),
            BlobError::Full => Some(Self::Full),
            BlobError::WritesStopped => Some(Self::WritesStopped),
            BlobError::Io { .. } => Some(Self::Other),
            BlobError::DigestMismatch { .. }
            | BlobError::TooLarge { .. }
            | BlobError::Cut(_)
            | BlobError::Busy => None,
        }
    }
}

/// A store's failure.
#[derive(Debug, Clone, Copy)]
pub struct StorageError {
    /// Which store's.
    pub store: Store,
    /// What failed.
    pub fault: Fault,
}

impl Label for StorageError {
    fn every() -> impl Iterator<Item = Self> {
        Store::EVERY
            .iter()
            .flat_map(|&store| Fault::EVERY.iter().map(move |&fault| Self { store, fault }))
    }

    fn index(self) -> usize {
        self.store as usize * Fault::EVERY.len() + self.fault as usize
    }

    fn pairs(self) -> impl EncodeLabelSet {
        [("store", self.store.text()), ("kind", self.fault.text())]
    }
}

words! {
    /// Whether a row was remembered.
    Lookup {
        /// It was.
        Hit = "hit",
        /// The database had to be asked.
        Miss = "miss",
    }
}
label!(Lookup as "outcome");

words! {
    /// How a round of the sweep ended.
    Sweep {
        /// All of it was done.
        Done = "done",
        /// A part failed, and is tried again in the next round.
        Failed = "failed",
    }
}
label!(Sweep as "outcome");
