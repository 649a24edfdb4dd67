//! The credentials that a policy accepts, and how a request is identified by them.

use std::time::Duration;

use http::{HeaderName, header::AUTHORIZATION};

use super::{Authenticator, CredentialKind, Identity, KINDS, Presented, Refusal, Sources};
use crate::{
    audit::record::AuthFailure,
    protocol::headers::{Header, RequestHeaders},
};

/// The authenticators of a snapshot, in the order of their kinds.
pub struct Authenticators {
    kinds: &'static [&'static dyn CredentialKind],
    /// The headers that may carry a credential of any kind, offered or not.
    headers: Vec<HeaderName>,
    offered: Vec<(&'static dyn CredentialKind, Box<dyn Authenticator>)>,
    challenge: String,
}

impl Authenticators {
    /// Those of the kinds that the policy offers.
    pub fn new(sources: &Sources<'_>) -> Self {
        Self::of(&KINDS, sources)
    }

    pub(super) fn of(kinds: &'static [&'static dyn CredentialKind], sources: &Sources<'_>) -> Self {
        let offered: Vec<_> = kinds.iter().filter_map(|kind| Some((*kind, kind.authenticator(sources)?))).collect();
        let challenges: Vec<_> = offered.iter().map(|(kind, _)| kind.challenge(sources)).collect();
        // It carries credentials of some kind even if no kind reads it.
        let mut headers = vec![AUTHORIZATION];
        for header in kinds.iter().flat_map(|kind| kind.headers()) {
            if !headers.contains(header) {
                headers.push(header.clone());
            }
        }
        Self { kinds, headers, offered, challenge: challenges.join(", ") }
    }

    /// How a caller may authenticate, as `WWW-Authenticate` says it to one that did not.
    pub fn challenge(&self) -> &str {
        &self.challenge
    }

    /// Identifies a caller. `now` is the time since 1970.
    ///
    /// # Errors
    /// Returns an error if no credential was presented, if the one that was is not valid, if there is more than one, or if its
    /// client may not call this server.
    pub fn identify<'s>(&'s self, presented: &Presented<'_>, now: Duration) -> Result<Identity<'s>, Refusal<'s>> {
        if self.is_ambiguous(presented.headers) {
            return Err(self.refusal(|kind| kind.invalid(), AuthFailure::Ambiguous));
        }
        match self.offered.iter().find_map(|(_, authenticator)| authenticator.identify(presented, now)) {
            Some(identified) => identified?.check_active(now),
            None => Err(self.refusal(|kind| kind.required(), AuthFailure::Missing)),
        }
    }

    /// Identifies a caller again that an earlier snapshot identified.
    ///
    /// # Errors
    /// Returns an error if its credential is not valid any more, or if its client may not call this server.
    pub fn identify_again<'s>(&'s self, earlier: &Identity<'_>, now: Duration) -> Result<Identity<'s>, Refusal<'s>> {
        match self.offered.iter().find_map(|(_, authenticator)| authenticator.identify_again(earlier)) {
            Some(identified) => identified?.check_active(now),
            None => Err(self.refusal(|kind| kind.invalid(), AuthFailure::UnknownKey)),
        }
    }

    /// A refusal in the words of the first kind that is offered.
    fn refusal(&self, sentence: fn(&dyn CredentialKind) -> &'static str, reason: AuthFailure) -> Refusal<'static> {
        let kind = self.offered.first().map(|(kind, _)| kind).or(self.kinds.first());
        Refusal::Unauthenticated { message: kind.map_or("", |kind| sentence(*kind)), reason }
    }

    /// Whether headers carry several credentials, or one twice: which of them counts would be a guess.
    fn is_ambiguous(&self, headers: &dyn RequestHeaders) -> bool {
        let mut carried = 0;
        for name in &self.headers {
            match headers.get(name) {
                Header::Repeated => return true,
                header if header.is_missing() => {}
                _ => carried += 1,
            }
        }
        carried > 1
    }
}
