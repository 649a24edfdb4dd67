//! Credentials: what to create, keep or leave alone, as a function of what exists. Pure: randomness is an argument.
//!
//! To add a kind of credential that the operator issues to clients: a file beside `api_key.rs` with its `KIND`, its line in
//! [`KINDS`], and its variant of [`IssuedCredential`]. What is created, kept and published, what `render` prints and what
//! `local` hands out follow from its entry.

mod api_key;
mod issued;
mod kind;
mod record;
mod secret;
mod server_keys;

use portcullis_crds::client::ClientCredentials;

pub use issued::{IssuedCredential, entry};
pub use kind::{CredentialKind, CredentialStatus, DataKey, RequestedSecret, SecretData};
pub use record::{IssueRecord, NEW_KEY, RECONCILE, Revocation};
pub use secret::{Plan, plan, secret};
pub use server_keys::server_keys;

/// The kinds of credentials that the operator issues.
pub const KINDS: &[CredentialKind] = &[api_key::KIND];

/// The Secrets that a spec names, in the order of [`KINDS`].
pub fn requested(credentials: &ClientCredentials) -> impl Iterator<Item = RequestedSecret<'_>> {
    let request = |kind: &'static CredentialKind| {
        let name = (kind.secret_name)(credentials)?;
        Some(RequestedSecret { kind, name, revoke_before: (kind.revoke_before)(credentials) })
    };
    KINDS.iter().filter_map(request)
}
