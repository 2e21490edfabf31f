//! `?ns=`: pulls of clients that take this registry for the mirror of another one (distribution-spec, "Registry
//! Proxying").

use axum::response::Response;
use http::HeaderName;
use wharf_protocol::name::RepositoryName;

use super::answer;
use crate::config::Namespaces;
use crate::operation::Operation;

const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");

/// Lets a pull that names a mirrored registry read where that one's content is kept; returns the registry's name then.
/// Any other `ns` says nothing to us and is not refused.
pub(super) fn apply(
    namespaces: &Namespaces,
    query: Option<&str>,
    operation: &mut Operation,
) -> Option<String> {
    let query = query.filter(|_| !namespaces.is_empty())?;
    let (_, host) = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "ns")?;
    let name = pulled(operation)?;
    *name = namespaces.locate(&host, name)?;
    Some(host.into_owned())
}

/// The repository that is pulled from.
fn pulled(operation: &mut Operation) -> Option<&mut RepositoryName> {
    match operation {
        Operation::ReadManifest(read) => Some(&mut read.name),
        Operation::ReadBlob(read) => Some(&mut read.name),
        Operation::ListTags(list) => Some(&mut list.name),
        Operation::ListReferrers(list) => Some(&mut list.name),
        _ => None,
    }
}

/// Says which registry's content it was.
pub(super) fn dress(answer: &mut Response, host: &str) {
    answer::put(answer, OCI_NAMESPACE, host);
}
