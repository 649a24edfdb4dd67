//! Session ids that need no memory: the state of a session is sealed into its id.
//!
//! Every replica that has the key can open an id, so a session outlives the pod that created it. Nobody can create or change an
//! id without the key. Whose session it is, is left to the callers, who compare the identity.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::fingerprint::Fingerprint;

/// Names the format of the claims, so that another format is refused and not misread.
const FORM: &[u8] = b"portcullis session 1";

/// The state of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionClaims {
    /// The identity that opened the session. For any other identity the session does not exist.
    pub identity: Fingerprint,
    /// The protocol revision that was agreed, such as `2025-11-25`. At most 255 bytes.
    pub version: String,
    /// When the session expires, in seconds since 1970.
    pub expiry: u64,
    /// The pod that created the session.
    pub owner: String,
}

/// Seals and opens session ids with AES-256-GCM. Each id has a random nonce, so that one key is safe for 2^32 sessions.
pub struct Sealer(LessSafeKey);

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of AES-256 must have 32 bytes")))
    }

    /// With a new key: its ids are valid in this process only.
    pub fn with_random_key() -> Self {
        let mut key = [0; 32];
        rand::fill(&mut key).expect("the system must have randomness");
        Self::new(&key)
    }

    /// A new id on each call: base64url without padding, which is valid in a header.
    pub fn seal(&self, claims: &SessionClaims) -> String {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("the system must have randomness");
        let mut sealed = claims.to_bytes();
        let tag = self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(FORM), &mut sealed);
        let tag = tag.expect("a session must be short enough for AES-GCM");
        BASE64_URL_SAFE_NO_PAD.encode([&nonce, &*sealed, tag.as_ref()].concat())
    }

    /// The claims, if they were sealed with this key and have not expired. `now` is in seconds since 1970.
    pub fn open(&self, id: &str, now: u64) -> Option<SessionClaims> {
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(id).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let claims = SessionClaims::from_bytes(self.0.open_in_place(nonce, Aad::from(FORM), sealed).ok()?)?;
        (now < claims.expiry).then_some(claims)
    }
}

impl SessionClaims {
    /// Identity, expiry, length of the version, version, owner.
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
    fn an_id_is_new_each_time_reveals_nothing_and_is_valid_in_a_header() {
        let sealer = Sealer::with_random_key();
        let id = sealer.seal(&claims());
        assert_ne!(id, sealer.seal(&claims()));
        assert!(id.len() < 200 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{id}");
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(id).unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"2025" || window == b"crm-"));
    }

    proptest! {
        #[test]
        fn an_id_that_was_changed_or_made_up_does_not_open(at in any::<prop::sample::Index>(), flip in 1..=255_u8, text in ".{0,200}") {
            let sealer = Sealer::new(&[7; 32]);
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(sealer.seal(&claims())).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(sealer.open(&BASE64_URL_SAFE_NO_PAD.encode(&bytes), 0), None);
            prop_assert_eq!(sealer.open(&BASE64_URL_SAFE_NO_PAD.encode(&bytes[..at]), 0), None);
            prop_assert_eq!(sealer.open(&text, 0), None);
        }

        #[test]
        fn any_claims_are_read_back(identity in any::<[u8; 16]>(), version in ".{0,40}", expiry in 1..u64::MAX, owner in ".{0,300}") {
            let claims = SessionClaims { identity: Fingerprint::from_bytes(identity), version, expiry, owner };
            let sealer = Sealer::new(&[7; 32]);
            prop_assert_eq!(sealer.open(&sealer.seal(&claims), 0), Some(claims));
        }
    }
}
