//! Listings: the tags of a repository, and the repositories.

use super::{Error, Repo};
use crate::auth::Authorized;
use crate::metadata::{self, Page};
use crate::operation::{ListCatalog, ListTags};

impl Repo {
    /// Lists tags in byte order, from after `last`.
    ///
    /// # Errors
    /// [`Error::NameUnknown`].
    pub async fn tags(
        &self,
        list: &Authorized<ListTags>,
        last: Option<&str>,
        limit: u32,
    ) -> Result<Page<String>, Error> {
        let name = &list.operation().name;
        match self.metadata.tags(name, last, limit).await {
            Err(metadata::Error::RepositoryUnknown) => Err(Error::NameUnknown { name: name.clone() }),
            answer => Ok(answer?),
        }
    }

    /// Lists the repositories that the caller may see and that hold a manifest, in byte order, from after `last`.
    ///
    /// # Errors
    /// The database's.
    pub async fn catalog(
        &self,
        list: &Authorized<ListCatalog>,
        last: Option<&str>,
        limit: u32,
    ) -> Result<Page<String>, Error> {
        Ok(self
            .metadata
            .catalog(&list.grants().visible(), last, limit)
            .await?)
    }
}
