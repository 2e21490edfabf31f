//! `[[issuers]]`: whose JWTs are taken in a password's place, and what they allow.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::Url;
use serde::Deserialize;

use crate::metadata::Allowance;

/// An issuer of JWTs: a CI service, or a cluster's service accounts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Issuer {
    /// What logs and rows call it.
    pub name: String,
    /// The `iss` of its JWTs.
    pub issuer: String,
    /// The `aud` that they must have: ours.
    pub audience: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// The certificates to trust when they are fetched, PEM; the machine's without.
    pub ca: Option<PathBuf>,
    /// Who may do what.
    pub rules: Vec<ClaimRule>,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// Where the issuer says (OpenID Connect Discovery).
    Discovery(String),
    /// At this address.
    Url(String),
    /// In this file.
    File(PathBuf),
}

/// What is allowed to JWTs with certain claims.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimRule {
    /// A claim's name, or its JSON pointer if it begins with a slash, and the value, in which `*` stands for any
    /// characters.
    pub claims: Vec<(String, String)>,
    /// What is allowed if each of them matches.
    pub allow: Vec<Allowance>,
}

/// The setting, as TOML.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    issuers: Vec<RawIssuer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIssuer {
    name: String,
    issuer: String,
    audience: String,
    jwks: Option<String>,
    ca: Option<PathBuf>,
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    claims: BTreeMap<String, String>,
    allow: Vec<String>,
}

/// Reads a TOML array of tables.
pub(super) fn parse(text: &str) -> Result<Vec<Issuer>, String> {
    let file: File = toml::from_str(&format!("issuers = {text}")).map_err(|error| {
        let problem = error.message();
        format!("must be tables [[issuers]] with name, issuer, audience, rules, and jwks or ca: {problem}")
    })?;
    let issuers: Vec<Issuer> = file.issuers.into_iter().map(issuer).collect::<Result<_, _>>()?;
    for (at, one) in issuers.iter().enumerate() {
        let before = issuers.iter().take(at);
        for other in before {
            if other.name == one.name || other.issuer == one.issuer {
                return Err(format!(
                    "{} and {} are the same: join their rules",
                    other.name, one.name
                ));
            }
        }
    }
    Ok(issuers)
}

fn issuer(raw: RawIssuer) -> Result<Issuer, String> {
    let RawIssuer {
        name,
        issuer,
        audience,
        jwks,
        ca,
        rules,
    } = raw;
    let plain = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if name.is_empty() || name.len() > 32 || !plain(&name) {
        return Err(format!(
            "name {name:?} must be of a-z, 0-9 and -, at most 32 characters"
        ));
    }
    let wrong = |problem: String| format!("{name}: {problem}");
    if audience.is_empty() {
        return Err(wrong(
            "audience must not be empty: it tells that a JWT is for this registry".to_owned(),
        ));
    }
    let keys = match jwks {
        None => KeySource::Discovery(address(&issuer).map_err(|problem| wrong(format!("issuer {problem}")))?),
        Some(path) if path.starts_with('/') => KeySource::File(PathBuf::from(path)),
        Some(url) => KeySource::Url(
            address(&url).map_err(|problem| wrong(format!("jwks {problem}, or the path of a file")))?,
        ),
    };
    if rules.is_empty() {
        return Err(wrong("it has no rules: nobody could come by it".to_owned()));
    }
    let rules = rules
        .into_iter()
        .map(rule)
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    Ok(Issuer {
        name,
        issuer,
        audience,
        keys,
        ca,
        rules,
    })
}

/// Whoever stands between us and an issuer could make up its keys: so it is TLS, or this machine.
fn address(text: &str) -> Result<String, String> {
    let fix = || format!("{text:?} must be an https URL (http on this machine alone)");
    let url: Url = text.parse().map_err(|_not| fix())?;
    let here = ["127.0.0.1", "[::1]", "localhost"].contains(&url.host_str().unwrap_or_default());
    match url.scheme() {
        "https" => Ok(text.to_owned()),
        "http" if here => Ok(text.to_owned()),
        _ => Err(fix()),
    }
}

fn rule(raw: RawRule) -> Result<ClaimRule, String> {
    let RawRule { claims, allow } = raw;
    let claims: Vec<(String, String)> = claims.into_iter().collect();
    // Anybody may have the issuer's word for something: that it speaks to us is not enough.
    if !claims.iter().any(|(_, value)| value.bytes().any(|b| b != b'*')) {
        return Err(
            "a rule needs a claim with a value that not everybody has, like repository = \"acme/app\""
                .to_owned(),
        );
    }
    let allow: Vec<Allowance> = allow
        .iter()
        .map(|text| {
            text.parse::<Allowance>()
                .map_err(|error| format!("allow: {error}"))
        })
        .collect::<Result<_, _>>()?;
    if allow.is_empty() {
        return Err("a rule allows something: allow = [\"PATTERN:ACTIONS\"]".to_owned());
    }
    Ok(ClaimRule { claims, allow })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"[{ name = "github", issuer = "https://i.example", audience = "us",
        rules = [{ claims = { repository = "acme/app" }, allow = ["acme/**:pull,push"] }] }]"#;

    #[test]
    fn an_issuer_is_read_and_its_keys_are_where_it_says() {
        let [issuer] = &parse(GOOD).unwrap()[..] else {
            panic!("not one")
        };
        assert_eq!(issuer.keys, KeySource::Discovery("https://i.example".to_owned()));
        assert_eq!(issuer.rules[0].allow[0].to_string(), "acme/**:pull,push");
        let file = GOOD.replace("audience", "jwks = \"/keys.json\", audience");
        assert_eq!(
            parse(&file).unwrap()[0].keys,
            KeySource::File("/keys.json".into())
        );
        assert_eq!(parse("[]").unwrap(), []);
    }

    #[test]
    fn what_would_let_strangers_in_is_refused() {
        for (from, to, why) in [
            ("\"github\"", "\"Git Hub\"", "a-z"),
            ("https://i.example", "http://i.example", "https"),
            ("https://i.example", "i.example", "https"),
            ("\"us\"", "\"\"", "audience"),
            ("audience = \"us\",", "", "audience"),
            ("audience", "colour = \"red\", audience", "colour"),
            ("audience", "jwks = \"ftp://x\", audience", "jwks"),
            ("\"acme/app\"", "\"**\"", "not everybody has"),
            ("repository = \"acme/app\"", "", "not everybody has"),
            ("\"acme/**:pull,push\"", "\"acme/**\"", "PATTERN:ACTIONS"),
            ("\"acme/**:pull,push\"", "", "allows something"),
        ] {
            let refusal = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(refusal.contains(why), "{to}: {refusal}");
        }
        let twice = format!(
            "[{0}, {0}]",
            GOOD.strip_prefix('[')
                .and_then(|text| text.strip_suffix(']'))
                .unwrap()
        );
        assert!(parse(&twice).unwrap_err().contains("are the same"));
    }
}
