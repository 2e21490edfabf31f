//! Which blobs are fetched from the storage itself.

use std::net::IpAddr;
use std::time::Duration;

use super::layers::Layers;
use super::value::{self, Network, StorageUrl};
use crate::metadata::Pattern;

/// Where a GET of a blob is answered by the address of its bytes in the storage.
#[derive(Debug, Clone)]
pub struct Redirects {
    rules: Vec<Rule>,
    /// How long such an address is good for.
    pub life: Duration,
}

/// Repositories, and the clients of these that can reach the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    repositories: Pattern,
    /// All clients without.
    clients: Option<Network>,
}

impl Redirects {
    pub(super) fn take_all(layers: &mut Layers, storage: Option<&StorageUrl>) -> Option<Self> {
        let rules = layers.take("redirects", "", |text| value::list(text).map(rule).collect());
        let life = layers.take("redirect_life", "10m", |text| {
            value::duration(text, 60, 7 * 86400)
        });
        let (rules, life): (Vec<Rule>, _) = (rules?, life?);
        if !rules.is_empty() && matches!(storage, Some(StorageUrl::File(_))) {
            let warning = "redirects: a folder has no addresses for clients, so nothing is redirected";
            layers.warnings.push(warning.to_owned());
        }
        Some(Self { rules, life })
    }

    /// Tells whether the client is sent to the storage for blobs of the repository.
    pub fn apply(&self, repository: &str, client: IpAddr) -> bool {
        self.rules.iter().any(|rule| {
            let near = rule.clients.is_none_or(|network| network.contains(client));
            near && rule.repositories.matches(repository)
        })
    }
}

/// Reads `PATTERN` or `PATTERN@NETWORK`.
fn rule(text: &str) -> Result<Rule, String> {
    let (pattern, network) = text
        .split_once('@')
        .map_or((text, None), |(pattern, network)| (pattern, Some(network)));
    let fix = "must be repositories, with @ and a network if for its clients alone, like team/**@10.0.0.0/8";
    Ok(Rule {
        repositories: pattern.parse().map_err(|error| format!("{error}: {fix}"))?,
        clients: network.map(value::network).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_of_repositories_and_of_a_network_if_it_names_one() {
        let redirects = Redirects {
            rules: vec![rule("open/**").unwrap(), rule("**@10.0.0.0/8").unwrap()],
            life: Duration::from_secs(60),
        };
        let (near, far) = ("10.1.2.3".parse().unwrap(), "192.0.2.1".parse().unwrap());
        assert!(redirects.apply("open/app", far));
        assert!(redirects.apply("team/app", near));
        assert!(!redirects.apply("team/app", far));
    }

    #[test]
    fn what_is_no_rule_is_told_with_an_example() {
        for text in ["", "@10.0.0.0/8", "Team/**", "a/**@", "a/**@10.0.0.0/64", "a@b@c"] {
            let problem = rule(text).unwrap_err();
            assert!(problem.contains("like"), "{text:?}: {problem}");
        }
    }
}
