//! Content digests: `sha256:` or `sha512:` and lowercase hexadecimal digits (image-spec, "Digests").

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A digest algorithm that this project computes and verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, which every implementation has.
    Sha256,
    /// SHA-512, which the image specification registers beside it.
    Sha512,
}

impl Algorithm {
    /// The name as it stands before the colon of a digest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits follow the colon.
    #[must_use]
    pub fn hex_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Algorithm::Sha256),
            "sha512" => Ok(Algorithm::Sha512),
            other if is_algorithm_name(other) => Err(DigestError::Unsupported {
                algorithm: other.to_owned(),
            }),
            _ => Err(DigestError::Malformed),
        }
    }
}

/// image-spec: `algorithm-component [algorithm-separator algorithm-component]*`.
fn is_algorithm_name(text: &str) -> bool {
    text.len() <= 32
        && text.split(['+', '.', '_', '-']).all(|component| {
            !component.is_empty()
                && component
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

/// Why a text is not a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It has no colon, the wrong number of digits, or a digit that is not lowercase hexadecimal.
    #[error("not a digest: expected sha256: and 64, or sha512: and 128 lowercase hexadecimal digits")]
    Malformed,
    /// It has the form of a digest, of an algorithm that is not computed here.
    #[error("digest algorithm {algorithm} is not supported: use sha256 or sha512")]
    Unsupported {
        /// The algorithm's name.
        algorithm: String,
    },
}

/// The digest of some content. Cloning shares the text; the order is the text's byte order.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    text: Arc<str>,
    algorithm: Algorithm,
}

impl Digest {
    /// Computes the digest of `bytes`.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Makes a digest of the raw hash value; `None` when its length is not the algorithm's.
    #[must_use]
    pub fn from_raw(algorithm: Algorithm, raw: &[u8]) -> Option<Self> {
        (raw.len() * 2 == algorithm.hex_len()).then(|| Self::from_hash(algorithm, raw))
    }

    fn from_hash(algorithm: Algorithm, raw: &[u8]) -> Self {
        let mut text = String::with_capacity(7 + raw.len() * 2);
        text.push_str(algorithm.as_str());
        text.push(':');
        for byte in raw {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(if nibble < 10 {
                    b'0' + nibble
                } else {
                    b'a' + nibble - 10
                }));
            }
        }
        Digest {
            text: text.into(),
            algorithm,
        }
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The whole text, `sha256:…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hexadecimal digits after the colon.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The first twelve digits, as people are shown an id.
    #[must_use]
    pub fn short(&self) -> &str {
        self.hex().get(..12).unwrap_or_default()
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::Malformed)?;
        let algorithm: Algorithm = name.parse()?;
        let well_formed = hex.len() == algorithm.hex_len()
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if well_formed {
            Ok(Digest {
                text: text.into(),
                algorithm,
            })
        } else {
            Err(DigestError::Malformed)
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Digest`] of bytes that arrive piece by piece.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// A SHA-256 in progress.
    Sha256(Sha256),
    /// A SHA-512 in progress.
    Sha512(Sha512),
}

impl Hasher {
    /// Starts with no bytes.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    /// The algorithm it was started with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Hasher::Sha256(_) => Algorithm::Sha256,
            Hasher::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hash) => Digest::from_hash(Algorithm::Sha256, &hash.finalize()),
            Hasher::Sha512(hash) => Digest::from_hash(Algorithm::Sha512, &hash.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        assert_eq!(Digest::of(Algorithm::Sha256, b"").as_str(), EMPTY);
        assert_eq!(
            Digest::of(Algorithm::Sha512, b"abc").hex(),
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
    }

    #[test]
    fn uppercase_short_and_bare_hex_are_malformed() {
        for text in [
            "",
            "sha256",
            "sha256:",
            "sha256:abc",
            &EMPTY.to_uppercase(),
            &EMPTY.replace('e', "E"),
        ] {
            assert_eq!(
                text.parse::<Digest>().err(),
                Some(DigestError::Malformed),
                "{text}"
            );
        }
    }

    #[test]
    fn an_unknown_algorithm_is_told_from_a_malformed_digest() {
        let error = "blake3:00".parse::<Digest>().unwrap_err();
        assert_eq!(
            error,
            DigestError::Unsupported {
                algorithm: "blake3".to_owned()
            }
        );
        assert_eq!("SHA-1:00".parse::<Digest>().unwrap_err(), DigestError::Malformed);
    }

    proptest! {
        #[test]
        fn any_text_parses_to_itself_or_not_at_all(text in ".{0,150}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.as_str(), text);
            }
        }

        #[test]
        fn pieces_hash_as_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..2000), cut in 0usize..2000) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut hasher = Hasher::new(Algorithm::Sha512);
            hasher.update(head);
            hasher.update(tail);
            prop_assert_eq!(hasher.finish(), Digest::of(Algorithm::Sha512, &bytes));
        }
    }
}
