//! A short name for an identity or a tool: cheap to copy, hash and compare.
//!
//! Limits, sessions and budgets are kept by it. It is a hash of its parts, the same in every replica and after every reload,
//! and two different lists of parts have different fingerprints.

use std::fmt;

use sha2::{Digest, Sha256};

/// The first 128 bits of a SHA-256 over length-prefixed parts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of a list of parts: `["a", "bc"]` and `["ab", "c"]` differ.
    pub fn of(parts: &[&str]) -> Self {
        Self::hash(Sha256::new(), parts)
    }

    /// The fingerprint of what this one stands for together with more parts, such as a client and its user.
    pub fn and(self, parts: &[&str]) -> Self {
        Self::hash(Sha256::new().chain_update(self.0), parts)
    }

    fn hash(mut hash: Sha256, parts: &[&str]) -> Self {
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finalize()[..16]);
        Self(short)
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The number of one of `shards` shards (a power of two, at most 256).
    pub fn shard(&self, shards: usize) -> usize {
        usize::from(self.0[0]) & (shards - 1)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Fingerprint::of(&["a", "bc"]), Fingerprint::of(&["ab", "c"]));
        assert_ne!(Fingerprint::of(&["a"]), Fingerprint::of(&["a", ""]));
        assert_eq!(Fingerprint::of(&["a", "bc"]), Fingerprint::of(&["a", "bc"]));
        let client = Fingerprint::of(&["a"]);
        assert!(client.and(&["b"]) != client && client.and(&["b"]) != Fingerprint::of(&["a", "b"]));
    }
}
