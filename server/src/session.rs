//! Session ids that need no memory: everything a session is, sealed into its id.
//!
//! Any replica that holds the key opens it, so a session outlives the pod that made it. What it promises is that nobody
//! without the key can make or change one; who may use it is left to the caller, who compares the identity.

use crate::fingerprint::Fingerprint;

/// What a session id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionClaims {
    /// Who opened it: to anybody else it is unknown.
    pub identity: Fingerprint,
    /// The protocol revision that was agreed, such as `2025-11-25`. At most 255 bytes.
    pub version: String,
    /// Seconds since 1970 from which it no longer holds.
    pub expiry: u64,
    /// The pod that made it. At most 255 bytes.
    pub owner: String,
}

/// Seals and opens session ids with AES-256-GCM.
pub struct Sealer {}

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Self {
        let _ = key;
        unimplemented!()
    }

    /// With a key of its own: its ids hold in this process only.
    pub fn with_random_key() -> Self {
        unimplemented!()
    }

    /// The id: base64url without padding, fit for a header, new on each call.
    pub fn seal(&self, claims: &SessionClaims) -> String {
        let _ = claims;
        unimplemented!()
    }

    /// The claims, if this key sealed them and `now` (seconds since 1970) is before their expiry.
    pub fn open(&self, id: &str, now: u64) -> Option<SessionClaims> {
        let _ = (id, now);
        unimplemented!()
    }
}
