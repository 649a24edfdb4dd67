//! The keys that a server's pods share: one seals session ids, the other one digests arguments in audit records.

use portcullis_crds::contract::{SecretKey, ServerKeys};

/// A server's own keys, made from random bytes.
pub fn server_keys(random: [u8; 64]) -> ServerKeys {
    let (sessions, arguments) = random.split_at(32);
    let key = |bytes: &[u8]| SecretKey(std::array::from_fn(|n| bytes[n]));
    ServerKeys { sessions: key(sessions), arguments: key(arguments) }
}
