//! Credentials: what to create, keep or leave alone, as a function of what exists. Pure; randomness is an argument.

pub mod api_key;

use portcullis_crds::contract::{SecretKey, ServerKeys};

/// A server's own keys, made of random bytes.
pub fn server_keys(random: [u8; 64]) -> ServerKeys {
    let (sessions, arguments) = random.split_at(32);
    let key = |bytes: &[u8]| SecretKey(std::array::from_fn(|n| bytes[n]));
    ServerKeys { sessions: key(sessions), arguments: key(arguments) }
}
