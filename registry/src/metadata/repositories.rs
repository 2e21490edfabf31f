//! Repositories: what is listed, found and said of them.

use wharf_protocol::name::RepositoryName;

use super::{Answer, Page, Visible};
use crate::clock::Timestamp;

/// Where a description comes from. One from further up is not replaced by one from further down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DescriptionSource {
    /// Somebody wrote it on the registry's page.
    Page,
    /// A pushed manifest's annotation `org.opencontainers.image.description`.
    Annotation,
    /// A pushed image's label of that name.
    Label,
    /// The first line of a README layer.
    Readme,
}

/// What a repository says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Where the text comes from.
    pub source: DescriptionSource,
    /// One line of text, as its writer sent it; cut by the caller.
    pub text: String,
}

/// What to search for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchQuery {
    /// Found anywhere in a name or a description, whatever its case (ASCII); empty finds everything.
    pub text: String,
    /// What the caller may pull.
    pub visible: Visible,
    /// How many hits to pass over.
    pub offset: u64,
    /// How many hits to return at most.
    pub limit: u32,
}

/// A repository that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchHit {
    /// The repository's name.
    pub name: String,
    /// What it says of itself, or nothing.
    pub description: String,
    /// How many users starred it.
    pub stars: u64,
}

/// One page of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPage {
    /// How many repositories match in all.
    pub total: u64,
    /// The page's, in the search's order.
    pub hits: Vec<SearchHit>,
}

/// Repositories. One comes into being with the first blob or manifest in it.
pub trait Repositories {
    /// Lists the names of the visible repositories that hold a manifest, in byte order, from the first one after
    /// `after` (which need not exist), `limit` at most. A repository with nothing but blobs is not listed.
    fn catalog<'a>(
        &'a self,
        visible: &'a Visible,
        after: Option<&'a str>,
        limit: u32,
    ) -> Answer<'a, Page<String>>;

    /// Finds the visible repositories that hold a manifest and whose name or description holds the text.
    ///
    /// A name that is the text comes first, then names that begin with it, then by stars, then in byte order. Only the
    /// first 10,000 can be had, though all are counted.
    fn search<'a>(&'a self, query: &'a SearchQuery) -> Answer<'a, SearchPage>;

    /// Returns a repository's description, if it has one.
    fn description<'a>(&'a self, repository: &'a RepositoryName) -> Answer<'a, Option<Description>>;

    /// Sets a repository's description, unless the one it has comes from further up; returns whether it was set.
    /// An empty text removes one from the same source or from further down.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`](super::Error::RepositoryUnknown).
    fn describe<'a>(&'a self, repository: &'a RepositoryName, description: Description) -> Answer<'a, bool>;

    /// Stars a repository in a user's name, or takes the star back; twice is once.
    ///
    /// # Errors
    /// [`Error::RepositoryUnknown`](super::Error::RepositoryUnknown), [`Error::UserUnknown`](super::Error::UserUnknown).
    fn star<'a>(
        &'a self,
        repository: &'a RepositoryName,
        user: &'a str,
        starred: bool,
        now: Timestamp,
    ) -> Answer<'a, ()>;
}
