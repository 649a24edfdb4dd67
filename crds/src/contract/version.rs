//! The versions of the contract.

use std::fmt;

/// A version of the contract. The names of the published objects carry it, so that the objects of two versions exist side by
/// side while an upgrade replaces the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    V1,
}

impl Version {
    /// The version that this crate writes and reads.
    pub const CURRENT: Self = Self::V1;
    /// Every version that the operator writes while pods that read it exist, newest first: at most this one and the one before.
    pub const WRITTEN: &[Self] = &[Self::V1];

    /// The value of the field `contract`.
    pub const fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
        }
    }
}

impl fmt::Display for Version {
    /// As object names spell it: `v1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.number())
    }
}
