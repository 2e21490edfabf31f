//! Referrers: the manifests that are about another one.

use super::{Error, Repo};
use crate::auth::Authorized;
use crate::metadata::{Page, Referrer, ReferrersQuery};
use crate::operation::ListReferrers;

/// How many referrers a page has if the client doesn't say.
const PAGE: u32 = 1000;
/// How many bytes of annotations a page has, about: clients take manifests of 4 MiB.
const PAGE_BYTES: u64 = 3 << 20;

/// One page of referrers, in the byte order of their digests.
pub type Referrers = Page<Referrer>;

impl Repo {
    /// Lists the manifests whose subject is the one asked for, which need not exist; nor need the repository.
    ///
    /// # Errors
    /// The database's.
    pub async fn referrers(&self, list: &Authorized<ListReferrers>) -> Result<Referrers, Error> {
        let ListReferrers {
            name,
            subject,
            artifact_type,
            last,
            n,
        } = list.operation();
        let query = ReferrersQuery {
            artifact_type: artifact_type.clone(),
            after: last.clone(),
            limit: n.filter(|n| *n > 0).unwrap_or(PAGE).min(PAGE),
            max_bytes: PAGE_BYTES,
        };
        Ok(self.metadata.referrers(name, subject, &query).await?)
    }
}
