//! Identifies the sender of a request: a snapshot's [`Authenticators`], what was presented and the time in; an [`Identity`]
//! or a [`Refusal`] out.
//!
//! Everything here is pure: no clock, no log, no metric. The credential that was presented decides, and no other is tried
//! after it. Each kind of credential is one file and one line in [`KINDS`]; the guard decides what follows from success and
//! failure.

mod api_key;
mod authenticators;
mod client;
mod conditions;
#[cfg(test)]
pub mod fixtures;

pub use authenticators::Authenticators;
pub use client::{Client, ClientState, Clients};
pub use conditions::Conditions;

use std::{collections::HashSet, sync::atomic::AtomicU64, time::Duration};

use http::HeaderName;
use portcullis_crds::{
    ToolName,
    contract::{Authentication, CredentialClient, KeyDigest},
};

use crate::{
    audit::record::{AuthFailure, ClientRefusal},
    fingerprint::Fingerprint,
    net::ConnectionFacts,
    protocol::headers::RequestHeaders,
};

/// The kinds of credentials. The refusal of a request without any is worded by the first kind that the policy offers.
static KINDS: [&dyn CredentialKind; 1] = [&api_key::ApiKey];

/// A kind of credential.
trait CredentialKind: Sync {
    /// The headers that may carry it. A request that uses two headers that may carry a credential, or one of them twice, is ambiguous.
    fn headers(&self) -> &'static [HeaderName];

    /// The challenge that says how to present it (RFC 9110, section 11.6.1).
    fn challenge(&self, sources: &Sources<'_>) -> String;

    /// The sentences that refuse a request without a credential, and one whose credential is invalid.
    fn required(&self) -> &'static str;
    fn invalid(&self) -> &'static str;

    /// Makes the kind's authenticator for a snapshot; `None` if the policy does not offer the kind.
    fn authenticator(&self, sources: &Sources<'_>) -> Option<Box<dyn Authenticator>>;
}

/// The credentials of one kind that a snapshot accepts.
trait Authenticator: Send + Sync {
    /// Whose credential it is; `None` if no credential of this kind was presented. That the client is active, and that the
    /// identity has not expired, is checked by [`Authenticators::identify`].
    fn identify<'s>(&'s self, presented: &Presented<'_>, now: Duration) -> Option<Result<Identity<'s>, Refusal<'s>>>;

    /// The same for a caller that an earlier snapshot identified: whether its credential is still valid. `None` if it is of another
    /// kind.
    fn identify_again<'s>(&'s self, earlier: &Identity<'_>) -> Option<Result<Identity<'s>, Refusal<'s>>>;
}

/// What authenticators are made of.
pub struct Sources<'a> {
    /// The server's name.
    pub realm: &'a str,
    pub settings: &'a Authentication,
    pub credentials: &'a [CredentialClient],
    pub clients: &'a Clients,
}

/// What a caller presented.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    pub headers: &'a dyn RequestHeaders,
    pub connection: &'a ConnectionFacts,
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
    /// What an API key is known by.
    pub digest: Option<KeyDigest>,
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

    /// Whether the access may end without a change of the policy.
    pub fn can_expire(&self) -> bool {
        self.expires.is_some() || self.client.can_expire()
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

#[cfg(test)]
mod tests;
