//! The proof that somebody may do something.

use std::sync::Arc;

use super::Grants;
use crate::operation;
use crate::operation::{Operation, for_each_operation};

/// An operation that its caller may carry out. Only `auth` makes one, and only from an [`Operation`].
#[derive(Debug)]
pub struct Authorized<T> {
    operation: T,
    grants: Arc<Grants>,
    source_readable: bool,
}

impl Authorized<Operation> {
    pub(super) fn new(operation: Operation, grants: Arc<Grants>, source_readable: bool) -> Self {
        Self {
            operation,
            grants,
            source_readable,
        }
    }
}

impl<T> Authorized<T> {
    /// Returns what may be done.
    pub fn operation(&self) -> &T {
        &self.operation
    }

    /// Returns what else the caller may do.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Returns whether the caller may read the mount's source that the operation names.
    pub fn source_readable(&self) -> bool {
        self.source_readable
    }
}

macro_rules! define {
    ($($name:ident),+ $(,)?) => {
        /// An [`Authorized`] operation by its kind, each carrying its proof.
        #[derive(Debug)]
        pub enum Allowed {
            $(#[doc = concat!("See [`operation::", stringify!($name), "`].")]
              $name(Authorized<operation::$name>),)+
        }

        impl Authorized<Operation> {
            /// Hands the proof on to the operation itself.
            pub fn split(self) -> Allowed {
                let Self { operation, grants, source_readable } = self;
                match operation {
                    $(Operation::$name(operation) => {
                        Allowed::$name(Authorized { operation, grants, source_readable })
                    })+
                }
            }
        }
    };
}
for_each_operation!(define);
