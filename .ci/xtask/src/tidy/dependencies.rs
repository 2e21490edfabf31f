//! Who knows whom, by `cargo tree -e normal`, and a comment on each dependency.

use std::path::Path;

use anyhow::Result;

use super::{Finding, Source};
use crate::process;
use crate::workspace::Workspace;

/// What a package of this workspace may be built on.
struct Rule {
    package: &'static str,
    manifest: &'static str,
    /// The packages of this workspace that it may know.
    knows: &'static [&'static str],
    others: Others,
}

/// The crates from outside that a package may be built on, however far down.
enum Others {
    /// These alone: the package must stay light.
    Only(&'static [&'static str]),
    /// All but these.
    AllBut(&'static [&'static str]),
}

const MEMBERS: &[&str] = &[
    "storage-tests",
    "wharf",
    "wharf-protocol",
    "wharf-registry",
    "wharf-runtime",
    "xtask",
];

const RULES: &[Rule] = &[
    Rule {
        package: "wharf-protocol",
        manifest: "registry/protocol/Cargo.toml",
        knows: &[],
        // No I/O and no async: a parser, a hash, and what derives need.
        others: Others::Only(&[
            "block-buffer",
            "bytes",
            "cfg-if",
            "const-oid",
            "cpufeatures",
            "crypto-common",
            "digest",
            "hybrid-array",
            "itoa",
            "memchr",
            "proc-macro2",
            "quote",
            "serde",
            "serde_core",
            "serde_derive",
            "serde_json",
            "sha2",
            "syn",
            "thiserror",
            "thiserror-impl",
            "typenum",
            "unicode-ident",
            "zmij",
        ]),
    },
    Rule {
        package: "wharf-runtime",
        manifest: "runtime/Cargo.toml",
        knows: &[],
        // Each page of it is paid for at every container's start.
        others: Others::Only(&[
            "bitflags",
            "cfg-if",
            "cfg_aliases",
            "itoa",
            "libc",
            "linux-raw-sys",
            "memchr",
            "memoffset",
            "nix",
            "proc-macro2",
            "quote",
            "rustix",
            "serde",
            "serde_core",
            "serde_derive",
            "serde_json",
            "syn",
            "thiserror",
            "thiserror-impl",
            "unicode-ident",
            "zmij",
        ]),
    },
    Rule {
        package: "wharf",
        manifest: "client/Cargo.toml",
        knows: &["wharf-protocol"],
        others: Others::AllBut(&["axum", "object_store", "sqlx", "openssl-sys"]),
    },
    Rule {
        package: "wharf-registry",
        manifest: "registry/Cargo.toml",
        knows: &["wharf-protocol"],
        others: Others::AllBut(&["netlink-sys", "oci-spec", "openssl-sys"]),
    },
    Rule {
        package: "storage-tests",
        manifest: "storage-tests/Cargo.toml",
        knows: &["wharf-protocol", "wharf-registry"],
        others: Others::AllBut(&[]),
    },
    Rule {
        package: "xtask",
        manifest: ".ci/xtask/Cargo.toml",
        knows: &[],
        others: Others::AllBut(&["reqwest", "tokio"]),
    },
];

/// Finds dependencies that say nothing of their purpose, and packages that know whom they must not.
pub(super) fn check(workspace: &Workspace, sources: &[Source]) -> Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = sources
        .iter()
        .filter(|source| source.is_called("Cargo.toml"))
        .flat_map(uncommented)
        .collect();
    for rule in RULES {
        let mut cargo = process::cargo();
        cargo
            .current_dir(workspace.root())
            .args(["tree", "--locked", "-e", "normal", "--prefix", "none"]);
        let tree = process::output(cargo.args(["--format", "{p}", "-p", rule.package]))?;
        findings.extend(strangers(rule, &tree));
    }
    Ok(findings)
}

/// The crates in `tree` that `rule` does not allow.
fn strangers(rule: &Rule, tree: &str) -> Vec<Finding> {
    let mut names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    names.sort_unstable();
    names.dedup();
    let allowed = |name: &&str| match (MEMBERS.contains(name), &rule.others) {
        (true, _) => *name == rule.package || rule.knows.contains(name),
        (false, Others::Only(light)) => light.contains(name),
        (false, Others::AllBut(banned)) => !banned.contains(name),
    };
    let strange = names.into_iter().filter(|name| !allowed(name));
    strange
        .map(|name| {
            Finding::of(
                Path::new(rule.manifest),
                format!("{} must not know {name}", rule.package),
            )
        })
        .collect()
}

/// The entries of a manifest's dependency tables without a comment above or behind them.
fn uncommented(manifest: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut in_table, mut open, mut said) = (false, 0_i64, false);
    for (index, line) in manifest.text.lines().enumerate() {
        let line = line.trim();
        if open > 0 {
            open += depth(line);
        } else if line.starts_with('#') {
            said = true;
            continue;
        } else if let Some(table) = line.strip_prefix('[') {
            in_table = table.trim_end_matches(']').ends_with("dependencies");
        } else if in_table && let Some((name, value)) = line.split_once('=') {
            if !said && !value.contains('#') {
                let what = format!("{} says nothing of what it is for", name.trim());
                findings.push(Finding::at(&manifest.path, index + 1, what));
            }
            open = depth(line);
        }
        said = false;
    }
    findings
}

/// How many brackets the line opens and leaves open.
fn depth(line: &str) -> i64 {
    line.chars()
        .map(|c| i64::from("[{".contains(c)) - i64::from("]}".contains(c)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::source;

    fn found(manifest: &str) -> Vec<String> {
        uncommented(&source("x/Cargo.toml", manifest))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn each_dependency_needs_a_comment_of_its_own() {
        let manifest = "\
[package]
name = \"x\"
[dependencies]
# errors
anyhow = \"1\"
bytes = \"1\"
toml = \"1\" # the configuration
[dev-dependencies]
insta = \"1\"
";
        assert_eq!(
            found(manifest),
            [
                "x/Cargo.toml:6: bytes says nothing of what it is for",
                "x/Cargo.toml:9: insta says nothing of what it is for",
            ]
        );
    }

    #[test]
    fn an_entry_over_several_lines_is_one_entry() {
        let manifest = "\
[dependencies]
# system calls
rustix = { version = \"1\", features = [
  \"fs\",
  \"net\",
] }
nix = \"0.31\"
";
        assert_eq!(
            found(manifest),
            ["x/Cargo.toml:7: nix says nothing of what it is for"]
        );
    }

    #[test]
    fn a_light_package_may_know_its_list_alone() {
        let rule = RULES.iter().find(|rule| rule.package == "wharf-runtime").unwrap();
        let tree = "wharf-runtime v0.1.0 (/x/runtime)\nlibc v0.2.1\nserde v1.0.1\nlibc v0.2.1 (*)\n";
        assert_eq!(strangers(rule, tree), []);
        let found = strangers(rule, &format!("{tree}tokio v1.0.0\nwharf-protocol v0.1.0 (/x)\n"));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "runtime/Cargo.toml: wharf-runtime must not know tokio",
                "runtime/Cargo.toml: wharf-runtime must not know wharf-protocol",
            ]
        );
    }

    #[test]
    fn the_client_and_the_registry_do_not_know_each_other() {
        for (package, other) in [
            ("wharf", "wharf-registry"),
            ("wharf-registry", "wharf"),
            ("wharf", "wharf-runtime"),
        ] {
            let rule = RULES.iter().find(|rule| rule.package == package).unwrap();
            let tree = format!("{package} v0.1.0 (/x)\nwharf-protocol v0.1.0 (/x)\n{other} v0.1.0 (/x)\n");
            assert_eq!(strangers(rule, &tree).len(), 1, "{package} → {other}");
        }
    }

    #[test]
    fn every_member_has_a_rule() {
        assert_eq!(RULES.len(), MEMBERS.len());
        assert!(
            MEMBERS
                .iter()
                .all(|member| RULES.iter().any(|rule| rule.package == *member))
        );
    }
}
