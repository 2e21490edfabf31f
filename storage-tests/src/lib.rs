//! The contracts of the registry's two stores, each sentence of them a clause, each clause a test over each backend.
//!
//! [`clauses`] hold one async function a clause; [`backends`] start a real store for it; [`stamp`] makes a named test
//! of each pair, and one that fails when a clause was forgotten. To add a backend, write its `start` and name it in
//! the `stamp!` of `tests/`.
//!
//! [`fleet`] puts whole servers over shared stores, for `tests/fleet/`.
//!
//! What this crate must not know: how a backend does what it promises; and HTTP, but for [`fleet`].
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a failure is a failed test"
)]

pub mod backends;
pub mod clauses;
pub mod content;
pub mod faults;
pub mod fleet;
pub mod gate;

/// Returns the names of the clauses in a source file: its public async functions, in order.
pub fn clauses_in(source: &str) -> Vec<&str> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix("pub async fn "))
        .filter_map(|rest| rest.split('(').next())
        .collect()
}

/// Makes a test of each clause of a file on each of some backends.
///
/// `stamp!(blobs: disk, s3; [clause_one, clause_two])` makes `disk::clause_one`, `s3::clause_one`, and so on. A
/// clause takes by value what the backend's `start` gives. A file in a folder is `(folder/file)`.
#[macro_export]
macro_rules! stamp {
    ($file:tt: $($backend:ident),+; $list:tt) => {
        $($crate::stamp!(@backend $file $backend $list);)+
        $crate::stamp!(@complete $file $list);
    };
    (@backend ($folder:ident / $file:ident) $backend:ident $list:tt) => {
        mod $backend {
            use $crate::clauses::$folder::$file as clauses;
            $crate::stamp!(@tests $backend $list);
        }
    };
    (@backend $file:ident $backend:ident $list:tt) => {
        mod $backend {
            use $crate::clauses::$file as clauses;
            $crate::stamp!(@tests $backend $list);
        }
    };
    (@tests $backend:ident [$($clause:ident),* $(,)?]) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $clause() {
                let store = $crate::backends::$backend::start().await;
                clauses::$clause(store).await;
            }
        )*
    };
    (@complete ($folder:ident / $file:ident) $list:tt) => {
        $crate::stamp!(@compare concat!("../src/clauses/", stringify!($folder), "/", stringify!($file), ".rs"), $list);
    };
    (@complete $file:ident $list:tt) => {
        $crate::stamp!(@compare concat!("../src/clauses/", stringify!($file), ".rs"), $list);
    };
    (@compare $path:expr, [$($clause:ident),* $(,)?]) => {
        #[test]
        fn every_clause_is_stamped() {
            let source = include_str!($path);
            assert_eq!($crate::clauses_in(source), [$(stringify!($clause)),*]);
        }
    };
}
