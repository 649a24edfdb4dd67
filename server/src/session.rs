//! Session ids that need no memory: everything a session is, sealed into its id.
//!
//! Any replica that holds the key opens it, so a session outlives the pod that made it. What it promises is that nobody
//! without the key can make or change one; who may use it is left to the caller, who compares the identity.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::fingerprint::Fingerprint;

/// The form of what is sealed, so that another form is refused and not misread.
const FORM: &[u8] = b"portcullis session 1";

/// What a session id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionClaims {
    /// Who opened it: to anybody else it is unknown.
    pub identity: Fingerprint,
    /// The protocol revision that was agreed, such as `2025-11-25`. At most 255 bytes.
    pub version: String,
    /// Seconds since 1970 from which it no longer holds.
    pub expiry: u64,
    /// The pod that made it.
    pub owner: String,
}

/// Seals and opens session ids with AES-256-GCM. A random nonce each: one key is good for four thousand million sessions.
pub struct Sealer(LessSafeKey);

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of AES-256 must have 32 bytes")))
    }

    /// With a key of its own: its ids hold in this process only.
    pub fn with_random_key() -> Self {
        let mut key = [0; 32];
        rand::fill(&mut key).expect("the system must have randomness");
        Self::new(&key)
    }

    /// The id: base64url without padding, fit for a header, new on each call.
    pub fn seal(&self, claims: &SessionClaims) -> String {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("the system must have randomness");
        let mut sealed = claims.to_bytes();
        let tag = self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(FORM), &mut sealed);
        let tag = tag.expect("a session must be short enough for AES-GCM");
        BASE64_URL_SAFE_NO_PAD.encode([&nonce, &*sealed, tag.as_ref()].concat())
    }

    /// The claims, if this key sealed them and `now` (seconds since 1970) is before their expiry.
    pub fn open(&self, id: &str, now: u64) -> Option<SessionClaims> {
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(id).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let claims = SessionClaims::from_bytes(self.0.open_in_place(nonce, Aad::from(FORM), sealed).ok()?)?;
        (now < claims.expiry).then_some(claims)
    }
}

impl SessionClaims {
    /// Identity, expiry, the version behind its length, the owner.
    fn to_bytes(&self) -> Vec<u8> {
        let version = &self.version.as_bytes()[..self.version.len().min(255)];
        let mut bytes = Vec::with_capacity(16 + 8 + 1 + version.len() + self.owner.len());
        bytes.extend_from_slice(self.identity.as_bytes());
        bytes.extend_from_slice(&self.expiry.to_le_bytes());
        bytes.push(version.len() as u8);
        bytes.extend_from_slice(version);
        bytes.extend_from_slice(self.owner.as_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (identity, rest) = bytes.split_first_chunk()?;
        let (expiry, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (version, owner) = rest.split_at_checked(usize::from(*length))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(Self {
            identity: Fingerprint::from_bytes(*identity),
            version: text(version)?,
            expiry: u64::from_le_bytes(*expiry),
            owner: text(owner)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims() -> SessionClaims {
        SessionClaims {
            identity: Fingerprint::of(&["bot"]),
            version: "2025-11-25".into(),
            expiry: 1_000,
            owner: "crm-7f9c-x2v".into(),
        }
    }

    #[test]
    fn any_replica_with_the_key_opens_a_session_until_it_expires() {
        let (one, other) = (Sealer::new(&[7; 32]), Sealer::new(&[7; 32]));
        let id = one.seal(&claims());
        assert_eq!(other.open(&id, 999), Some(claims()));
        assert_eq!(other.open(&id, 1_000), None);
        assert_eq!(Sealer::new(&[8; 32]).open(&id, 0), None);
        assert_eq!(Sealer::with_random_key().open(&id, 0), None);
    }

    #[test]
    fn an_id_is_new_each_time_says_nothing_and_fits_a_header() {
        let sealer = Sealer::with_random_key();
        let id = sealer.seal(&claims());
        assert_ne!(id, sealer.seal(&claims()));
        assert!(id.len() < 200 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{id}");
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(id).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"2025" || window == b"crm-"));
    }

    proptest! {
        #[test]
        fn what_was_changed_or_made_up_does_not_open(at in any::<prop::sample::Index>(), flip in 1..=255_u8, text in ".{0,200}") {
            let sealer = Sealer::new(&[7; 32]);
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(sealer.seal(&claims())).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(sealer.open(&BASE64_URL_SAFE_NO_PAD.encode(&bytes), 0), None);
            prop_assert_eq!(sealer.open(&BASE64_URL_SAFE_NO_PAD.encode(&bytes[..at]), 0), None);
            prop_assert_eq!(sealer.open(&text, 0), None);
        }

        #[test]
        fn any_claims_read_back(identity in any::<[u8; 16]>(), version in ".{0,40}", expiry in 1..u64::MAX, owner in ".{0,300}") {
            let claims = SessionClaims { identity: Fingerprint::from_bytes(identity), version, expiry, owner };
            let sealer = Sealer::new(&[7; 32]);
            prop_assert_eq!(sealer.open(&sealer.seal(&claims), 0), Some(claims));
        }
    }
}
