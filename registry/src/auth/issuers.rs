//! Issuers whose JWTs stand in a password's place: so a CI job needs no secret of ours.
//!
//! A JWT is good if its issuer is one of the settings, one of that issuer's own keys signed it (never one that it
//! brings along, and never by an algorithm of shared secrets), it is for us, and its time has come and not passed.
//! What it allows are the issuer's rules that its claims match.

mod keys;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use self::keys::Keys;
use super::grants::Principal;
use crate::clock::Timestamp;
use crate::config;
use crate::config::ClaimRule;
use crate::metadata::Allowance;

/// What may sign. Shared secrets (HS256 …) and `none` may not.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// How far an issuer's clock may be off ours.
const LEEWAY_S: i64 = 30;
/// The longest `sub`, in bytes.
const LONGEST_SUBJECT: usize = 255;
/// A JWT that is longer is none.
const LONGEST_JWT: usize = 16 << 10;

/// Why an issuer of the settings can't be used.
#[derive(Debug, Error)]
#[error("issuers: {name}: {problem}")]
pub struct IssuerError {
    /// Which one.
    pub name: String,
    /// What is wrong.
    pub problem: String,
}

/// Why a JWT is not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is not good.
    Bad(&'static str),
    /// The issuer's keys could not be had; it may be good.
    Unreachable,
}

/// The issuers of the settings.
#[derive(Debug, Default)]
pub struct Issuers(Vec<Issuer>);

/// One issuer.
#[derive(Debug)]
pub(super) struct Issuer {
    settings: config::Issuer,
    keys: Keys,
    /// Another one for other settings: tokens given out by the old ones end with them.
    version: i64,
}

impl Issuers {
    /// Makes ready to verify; keys are fetched when the first JWT comes.
    ///
    /// # Errors
    /// Certificates of the settings can't be used.
    pub fn open(settings: &[config::Issuer]) -> Result<Self, IssuerError> {
        let issuers = settings.iter().map(|settings| {
            let keys = Keys::new(&settings.name, &settings.keys, settings.ca.as_deref());
            let keys = keys.map_err(|error| IssuerError {
                name: settings.name.clone(),
                problem: error.to_string(),
            })?;
            Ok(Issuer {
                settings: settings.clone(),
                keys,
                version: version(settings),
            })
        });
        Ok(Self(issuers.collect::<Result<_, _>>()?))
    }

    /// Returns the issuer of what looks like a JWT of one of them.
    pub(super) fn of(&self, password: &str) -> Option<&Issuer> {
        #[derive(Deserialize)]
        struct Unverified {
            iss: String,
        }
        if self.0.is_empty() || password.len() > LONGEST_JWT {
            return None;
        }
        let (signed, _) = password.rsplit_once('.')?;
        let (_, claims) = signed.split_once('.')?;
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        let claimed: Unverified = serde_json::from_slice(&claims).ok()?;
        self.0.iter().find(|issuer| issuer.settings.issuer == claimed.iss)
    }

    /// Returns what rules of an issuer allow, with the version of its settings.
    pub(super) fn allowed(&self, name: &str, rules: &[usize]) -> Option<(i64, Vec<Allowance>)> {
        let issuer = self.0.iter().find(|issuer| issuer.settings.name == name)?;
        let rules = rules.iter().filter_map(|at| issuer.settings.rules.get(*at));
        let allowed = rules.flat_map(|rule| rule.allow.iter().cloned()).collect();
        Some((issuer.version, allowed))
    }
}

fn version(settings: &config::Issuer) -> i64 {
    // Every replica of one version of the program comes to the same number.
    let mut hasher = DefaultHasher::new();
    settings.hash(&mut hasher);
    i64::from_le_bytes(hasher.finish().to_le_bytes())
}

impl Issuer {
    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Verifies a JWT; returns whom it speaks of.
    pub(super) async fn verify(&self, jwt: &str, now: Timestamp) -> Result<Principal, Refusal> {
        let bad = |why: &'static str| move |_error: jsonwebtoken::errors::Error| Refusal::Bad(why);
        let header = jsonwebtoken::decode_header(jwt).map_err(bad("its header cannot be read"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Refusal::Bad("its algorithm is not one that issuers sign with"));
        }
        // RFC 7515, 4.1.11: whoever does not understand what is critical refuses.
        if header.crit.is_some() {
            return Err(Refusal::Bad("its header demands what is not understood here"));
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg).await?;
        let key = key.ok_or(Refusal::Bad("no key of its issuer signed it"))?;
        let mut validation = Validation::new(header.alg);
        // Times are compared with our own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_issuer(&[&self.settings.issuer]);
        let claims = jsonwebtoken::decode::<Map<String, Value>>(jwt, &key, &validation)
            .map_err(bad("its signature, audience or issuer is wrong"))?
            .claims;
        is_current(&claims, now)?;
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if subject.is_empty() || subject.len() > LONGEST_SUBJECT || subject.contains(char::is_control) {
            return Err(Refusal::Bad("its subject is empty, too long or unreadable"));
        }
        let claims = Value::Object(claims.clone());
        let numbered = self.settings.rules.iter().enumerate();
        let rules: Vec<usize> = numbered
            .filter(|(_, rule)| matches(rule, &claims))
            .map(|(at, _)| at)
            .collect();
        if rules.is_empty() {
            return Err(Refusal::Bad("no rule of the settings is for its claims"));
        }
        Ok(Principal::Job {
            name: format!("{}:{subject}", self.settings.name),
            issuer: self.settings.name.clone(),
            rules,
        })
    }
}

fn is_current(claims: &Map<String, Value>, now: Timestamp) -> Result<(), Refusal> {
    // RFC 7519, NumericDate: seconds, with a fraction or without.
    let seconds = |name: &str| {
        let date = claims.get(name)?;
        date.as_i64().or_else(|| {
            let date = date.as_f64().filter(|date| date.is_finite())?;
            format!("{:.0}", date.trunc()).parse().ok()
        })
    };
    let now = now.as_secs();
    let expires = seconds("exp").ok_or(Refusal::Bad("its exp is no time"))?;
    if expires.saturating_add(LEEWAY_S) <= now {
        return Err(Refusal::Bad("it has expired"));
    }
    match (claims.get("nbf"), seconds("nbf")) {
        (None, _) => Ok(()),
        (Some(_), Some(begins)) if begins <= now.saturating_add(LEEWAY_S) => Ok(()),
        (Some(_), _) => Err(Refusal::Bad("it is not valid yet")),
    }
}

fn matches(rule: &ClaimRule, claims: &Value) -> bool {
    rule.claims.iter().all(|(name, pattern)| {
        let claim = if name.starts_with('/') {
            claims.pointer(name)
        } else {
            claims.get(name)
        };
        claim.is_some_and(|claim| claim_matches(claim, pattern))
    })
}

/// A list matches by any of its elements.
fn claim_matches(claim: &Value, pattern: &str) -> bool {
    match claim {
        Value::String(text) => text_matches(pattern, text),
        Value::Bool(_) | Value::Number(_) => text_matches(pattern, &claim.to_string()),
        Value::Array(claims) => claims
            .iter()
            .any(|claim| !claim.is_array() && claim_matches(claim, pattern)),
        Value::Null | Value::Object(_) => false,
    }
}

/// The pieces between stars are found from left to right, the first and the last at the ends.
fn text_matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*') {
        match left.split_once(piece) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_match_by_name_by_pointer_and_in_lists() {
        let claims = json!({
            "repository": "acme/app", "ref": "refs/heads/main", "protected": true, "id": 7, "none": null,
            "groups": ["dev", "ops"], "kubernetes.io": { "namespace": "ci", "pod": { "name": "x" } },
        });
        for (name, pattern, expected) in [
            ("repository", "acme/app", true),
            ("repository", "acme/*", true),
            ("repository", "acme", false),
            ("repository", "ACME/app", false),
            ("ref", "refs/*/main", true),
            ("ref", "refs/*/*/main", false),
            ("ref", "*main*", true),
            ("ref", "refs/heads/main*main", false),
            ("protected", "true", true),
            ("id", "7", true),
            ("none", "*", false),
            ("absent", "*", false),
            ("groups", "ops", true),
            ("groups", "op", false),
            ("/kubernetes.io/namespace", "ci", true),
            ("/kubernetes.io/pod/name", "x", true),
            ("/kubernetes.io/pod", "*", false),
            ("kubernetes.io", "*", false),
        ] {
            let rule = ClaimRule {
                claims: vec![(name.to_owned(), pattern.to_owned())],
                allow: Vec::new(),
            };
            assert_eq!(matches(&rule, &claims), expected, "{name} = {pattern}");
        }
    }

    #[test]
    fn times_are_seconds_with_or_without_a_fraction() {
        let at = |claims: Value| is_current(claims.as_object().unwrap(), Timestamp::from_millis(1_000_000));
        for good in [
            json!({ "exp": 1001 }),
            json!({ "exp": 971 }),
            json!({ "exp": 1001.5, "nbf": 999.5 }),
            json!({ "exp": 2000, "nbf": 1030 }),
        ] {
            assert!(at(good.clone()).is_ok(), "{good}");
        }
        for bad in [
            json!({}),
            json!({ "exp": 970 }),
            json!({ "exp": "1001" }),
            json!({ "exp": null }),
            json!({ "exp": 2000, "nbf": 1031 }),
            json!({ "exp": 2000, "nbf": "x" }),
        ] {
            assert!(at(bad.clone()).is_err(), "{bad}");
        }
    }

    fn issuers() -> Issuers {
        let settings = config::Issuer {
            name: "ci".to_owned(),
            issuer: "https://i.example".to_owned(),
            audience: "us".to_owned(),
            keys: config::KeySource::File("/none".into()),
            ca: None,
            rules: Vec::new(),
        };
        Issuers::open(&[settings]).unwrap()
    }

    proptest! {
        #[test]
        fn only_a_jwt_that_claims_an_issuer_is_one_of_its(header in ".{0,9}", tail in ".{0,9}", issuer in ".{0,20}") {
            let jwt = |issuer: &str| {
                let claims = URL_SAFE_NO_PAD.encode(json!({ "iss": issuer }).to_string());
                format!("{}.{claims}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&tail))
            };
            let issuers = issuers();
            prop_assert!(issuers.of(&jwt("https://i.example")).is_some());
            prop_assert!(issuers.of(&jwt(&issuer)).is_none());
            let none = format!("{header}.{issuer}.{tail}");
            prop_assert!(issuers.of(&none).is_none());
        }
    }
}
