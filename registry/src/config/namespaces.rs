//! Where the content of other registries is kept.

use wharf_protocol::name::RepositoryName;

/// Which repositories hold another registry's, by that registry's host: what a client that takes this one for a mirror
/// says in `?ns=` (distribution-spec, "Registry Proxying").
#[derive(Debug, Clone, Default)]
pub struct Namespaces(Vec<(String, RepositoryName)>);

impl Namespaces {
    /// Returns where the repository `name` of the registry `host` is kept, if that registry is mirrored and the name is
    /// not too long by that.
    pub fn locate(&self, host: &str, name: &RepositoryName) -> Option<RepositoryName> {
        let (_, prefix) = self.0.iter().find(|(mirrored, _)| mirrored == host)?;
        format!("{prefix}/{name}").parse().ok()
    }

    /// Returns whether no registry is mirrored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads `HOST=REPOSITORY, …`.
pub(super) fn namespaces(text: &str) -> Result<Namespaces, String> {
    let one = |text: &str| {
        let fix = || {
            format!("{text:?} must be a host and where its repositories are, like docker.io=mirror/docker.io")
        };
        let (host, prefix) = text.split_once('=').ok_or_else(fix)?;
        let is_host = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        let prefix = prefix.parse().map_err(|_not| fix())?;
        if is_host {
            Ok((host.to_owned(), prefix))
        } else {
            Err(fix())
        }
    };
    super::value::list(text)
        .map(one)
        .collect::<Result<_, _>>()
        .map(Namespaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_below_its_hosts_repository() {
        let mirrored = namespaces("docker.io=mirror/docker.io, ghcr.io:443=mirror/ghcr").unwrap();
        let name: RepositoryName = "library/busybox".parse().unwrap();
        let at = |host| mirrored.locate(host, &name).map(|name| name.to_string());
        assert_eq!(
            at("docker.io").as_deref(),
            Some("mirror/docker.io/library/busybox")
        );
        assert_eq!(at("ghcr.io:443").as_deref(), Some("mirror/ghcr/library/busybox"));
        assert_eq!(at("quay.io"), None);
        let long: RepositoryName = "a".repeat(250).parse().unwrap();
        assert_eq!(mirrored.locate("docker.io", &long), None);
    }

    #[test]
    fn what_is_no_namespace_is_told_with_an_example() {
        for text in [
            "docker.io",
            "=mirror",
            "docker.io=",
            "docker.io=Mirror",
            "a b=mirror",
            "a/b=mirror",
        ] {
            assert!(
                namespaces(text).unwrap_err().contains("like docker.io"),
                "{text:?}"
            );
        }
    }
}
