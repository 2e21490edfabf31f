//! The one source of randomness, passed to whatever needs it.

/// Gives bytes that nobody can foretell.
pub trait Random: Send + Sync + std::fmt::Debug {
    /// Fills the slice.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Random + '_ {
    /// Returns 16 bytes as a number.
    pub fn number(&self) -> u128 {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }

    /// Returns 32 bytes, enough for a secret.
    pub fn secret(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }
}

/// The kernel's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // getrandom(2) on a running system waits at most for the first seed and then never fails.
        getrandom::fill(bytes).expect("the kernel has a random generator");
    }
}
