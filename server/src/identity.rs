//! Identifies the sender of a request: the snapshot, what was presented and the time in; an [`Identity`] or a [`Refusal`] out.
//!
//! Everything here is pure: no clock, no log, no metric. The credential that was presented decides, and no other is tried
//! after it. Each kind of credential is one file and one line in [`KINDS`]; the guard decides what follows from success and
//! failure.

mod api_key;

use std::{collections::HashSet, sync::atomic::AtomicU64, time::Duration};

use portcullis_crds::ToolName;

use crate::{
    audit::record::{AuthFailure, ClientRefusal},
    config::{Client, ClientState, Snapshot},
    fingerprint::Fingerprint,
    net::ConnectionFacts,
    protocol::headers::{Header, RequestHeaders},
};

/// The kinds of credentials. The refusal of a request without any is worded by the first kind that the policy offers.
const KINDS: [&dyn CredentialKind; 1] = [&api_key::ApiKey];

/// The header that carries credentials of some kind even if no kind reads it.
const AUTHORIZATION: &str = "authorization";

/// What a caller presented.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    pub headers: &'a dyn RequestHeaders,
    pub connection: &'a ConnectionFacts,
}

/// A kind of credential.
trait CredentialKind: Sync {
    /// Whether the policy lets clients use this kind.
    fn is_offered(&self, snapshot: &Snapshot) -> bool;

    /// The header that carries it, if a header does. A request that uses two such headers, or one of them twice, is ambiguous.
    fn header(&self) -> Option<&'static str>;

    /// The sentences that refuse a request without a credential, and one whose credential is invalid.
    fn required(&self) -> &'static str;
    fn invalid(&self) -> &'static str;

    /// Whose credential it is; `None` if no credential of this kind was presented. That the client is active, and that the
    /// identity has not expired, is checked by [`identify`].
    fn identify<'s>(
        &self,
        snapshot: &'s Snapshot,
        presented: &Presented<'_>,
        now: Duration,
    ) -> Option<Result<Identity<'s>, Refusal<'s>>>;
}

/// A caller whose credential is valid.
pub struct Identity<'s> {
    pub client: &'s Client,
    /// The user that the client acts for, if the credential names one.
    pub subject: Option<Subject>,
    /// Stands for the client and the subject together: limits, sessions and budgets are kept by it.
    pub fingerprint: Fingerprint,
    pub credential: Credential<'s>,
    /// The tools that the credential admits, if it admits fewer than the client has.
    pub narrowing: Option<Narrowing>,
    /// When the credential expires, in seconds since 1970.
    pub expires: Option<u64>,
}

/// A user of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub issuer: String,
    pub name: String,
    /// What audit records call the subject.
    pub pseudonym: String,
}

/// The credential, as audit records name it.
#[derive(Clone, Copy, Debug)]
pub struct Credential<'s> {
    pub id: &'s str,
    /// When its use was last recorded, in seconds of the limiter's clock plus one; 0 if it never was.
    pub last_recorded: &'s AtomicU64,
}

/// A set of tools that a credential is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing(pub HashSet<ToolName>);

/// Why a caller is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'s> {
    /// No credential, or none that is valid.
    Unauthenticated {
        /// The sentence for the caller.
        message: &'static str,
        reason: AuthFailure,
    },
    /// The credential is valid, but its client may not call this server.
    ClientRefused { client: &'s str, credential: &'s str, reason: ClientRefusal },
}

impl<'s> Identity<'s> {
    /// The identity of a client itself. A kind whose credentials name a user, limit the tools or expire sets the rest.
    fn of_client(client: &'s Client, credential: Credential<'s>) -> Self {
        Self { client, subject: None, fingerprint: client.fingerprint, credential, narrowing: None, expires: None }
    }

    /// Whether the credential admits a tool. Whether the client may call it is another question.
    pub fn admits(&self, tool: &ToolName) -> bool {
        self.narrowing.as_ref().is_none_or(|narrowing| narrowing.0.contains(tool))
    }

    /// Refuses a client that is suspended or expired, and a credential that has expired.
    fn check_active(self, now: Duration) -> Result<Self, Refusal<'s>> {
        let reason = match self.client.state(now) {
            ClientState::Suspended => ClientRefusal::Suspended,
            ClientState::Expired => ClientRefusal::Expired,
            ClientState::Active if self.expires.is_some_and(|expires| expires <= now.as_secs()) => {
                ClientRefusal::Expired
            }
            ClientState::Active => return Ok(self),
        };
        Err(Refusal::ClientRefused { client: self.client.id.as_str(), credential: self.credential.id, reason })
    }
}

impl Refusal<'_> {
    /// The sentence for the caller.
    pub fn message(&self) -> &'static str {
        match self {
            Self::Unauthenticated { message, .. } => message,
            Self::ClientRefused { .. } => "Client not recognised",
        }
    }
}

/// Identifies a caller. `now` is the time since 1970.
///
/// # Errors
/// Returns an error if no credential was presented, if the one that was is not valid, if there is more than one, or if its
/// client may not call this server.
pub fn identify<'s>(
    snapshot: &'s Snapshot,
    presented: &Presented<'_>,
    now: Duration,
) -> Result<Identity<'s>, Refusal<'s>> {
    identify_by(&KINDS, snapshot, presented, now)
}

fn identify_by<'s>(
    kinds: &[&dyn CredentialKind],
    snapshot: &'s Snapshot,
    presented: &Presented<'_>,
    now: Duration,
) -> Result<Identity<'s>, Refusal<'s>> {
    let offered = kinds.iter().find(|kind| kind.is_offered(snapshot)).or(kinds.first());
    let refused = |sentence: fn(&dyn CredentialKind) -> &'static str, reason| {
        Err(Refusal::Unauthenticated { message: offered.map_or("", |kind| sentence(*kind)), reason })
    };
    if is_ambiguous(kinds, presented.headers) {
        return refused(|kind| kind.invalid(), AuthFailure::Ambiguous);
    }
    match kinds.iter().find_map(|kind| kind.identify(snapshot, presented, now)) {
        Some(identified) => identified?.check_active(now),
        None => refused(|kind| kind.required(), AuthFailure::Missing),
    }
}

/// Whether headers carry several credentials, or one twice: which of them counts would be a guess.
fn is_ambiguous(kinds: &[&dyn CredentialKind], headers: &dyn RequestHeaders) -> bool {
    let names = || kinds.iter().filter_map(|kind| kind.header());
    let unread = (!names().any(|name| name == AUTHORIZATION)).then_some(AUTHORIZATION);
    let mut carried = 0;
    for name in names().chain(unread) {
        match headers.get(name) {
            Header::Repeated => return true,
            header if header.is_missing() => {}
            _ => carried += 1,
        }
    }
    carried > 1
}

#[cfg(test)]
mod tests;
