//! Sessions of the older revisions: an id is handed out at `initialize`, and checked if it is sent with a request. A request
//! without one is served too.

use std::time::{Duration, SystemTime};

use crate::{
    cancellation::SessionNumber,
    guard::{Caller, Guard},
    protocol::{
        era::{Era, Version},
        headers::Header,
        request::Request,
    },
    session::SessionClaims,
};

/// How long a session id is valid. A client whose id has expired initializes again by itself.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The revision of a session, if its id is valid and was handed out to this identity. The ids of others are the same as unknown ones.
pub(super) fn version(caller: Caller<'_>, id: Header<'_>) -> Option<Version> {
    let claims = caller.snapshot.sealer.open(id.text().ok()??, unix_seconds())?;
    Version::parse(&claims.version).filter(|_| claims.identity == caller.identity.fingerprint)
}

/// The session of a request, whose id was checked. An id begins with its nonce, which no two of them share.
pub(super) fn number(request: &Request<'_>) -> Option<SessionNumber> {
    match (request.era, request.carrier.session()) {
        (Era::Handshake, Header::Once(id)) => id.first_chunk().copied().map(SessionNumber),
        _ => None,
    }
}

/// The id of a new session.
pub(super) fn open(guard: &Guard, caller: Caller<'_>, version: Version) -> String {
    caller.snapshot.sealer.seal(&SessionClaims {
        identity: caller.identity.fingerprint,
        version: version.as_str().to_owned(),
        expiry: unix_seconds() + LIFETIME.as_secs(),
        owner: guard.audit.instance().to_owned(),
    })
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
