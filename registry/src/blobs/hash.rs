//! A digest's computation that can be put into a row and taken up again.

use digest::common::hazmat::SerializableState as _;
use sha2::{Sha256, Sha512};
use wharf_protocol::digest::{Algorithm, Hasher};

use super::BlobError;

/// The layout of [`HashState::bytes`]: `sha2` 0.11's own. A release that lays it out differently gets another number.
const FORMAT: u32 = 1;

/// A hash that has seen some bytes and waits for more, as a row holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashState {
    /// Which hash.
    pub algorithm: Algorithm,
    /// How `bytes` is laid out.
    pub format: u32,
    /// The state: 104 bytes for SHA-256, 208 for SHA-512.
    pub bytes: Vec<u8>,
}

impl HashState {
    /// Puts a hash down.
    pub fn of(hasher: &Hasher) -> Self {
        let bytes = match hasher {
            Hasher::Sha256(hash) => hash.serialize().to_vec(),
            Hasher::Sha512(hash) => hash.serialize().to_vec(),
        };
        Self {
            algorithm: hasher.algorithm(),
            format: FORMAT,
            bytes,
        }
    }

    /// Takes the hash up where it was put down.
    ///
    /// # Errors
    /// [`BlobError::SessionLost`] if the state has a layout that this release does not know.
    pub fn resume(&self) -> Result<Hasher, BlobError> {
        if self.format != FORMAT {
            return Err(BlobError::SessionLost);
        }
        let bytes = self.bytes.as_slice();
        let hasher = match self.algorithm {
            Algorithm::Sha256 => bytes
                .try_into()
                .ok()
                .and_then(|state| Sha256::deserialize(state).ok())
                .map(Hasher::Sha256),
            Algorithm::Sha512 => bytes
                .try_into()
                .ok()
                .and_then(|state| Sha512::deserialize(state).ok())
                .map(Hasher::Sha512),
        };
        hasher.ok_or(BlobError::SessionLost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wharf_protocol::digest::Digest;

    #[test]
    fn a_hash_put_down_anywhere_ends_in_the_same_digest() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for cut in [0, 1, 63, 64, 65, 127, 128, 129, 999, 1000] {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&bytes[..cut]);
                let state = HashState::of(&hasher);
                let mut hasher = state.resume().unwrap();
                hasher.update(&bytes[cut..]);
                assert_eq!(
                    hasher.finish(),
                    Digest::of(algorithm, &bytes),
                    "{algorithm} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn a_state_of_another_layout_is_a_lost_session() {
        let good = HashState::of(&Hasher::new(Algorithm::Sha256));
        for bad in [
            HashState {
                format: 2,
                ..good.clone()
            },
            HashState {
                algorithm: Algorithm::Sha512,
                ..good.clone()
            },
            HashState {
                bytes: Vec::new(),
                ..good.clone()
            },
        ] {
            assert!(matches!(bad.resume(), Err(BlobError::SessionLost)));
        }
    }
}
