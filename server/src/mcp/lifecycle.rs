//! `initialize` and `ping` of the older revisions, `server/discover` of 2026-07-28.

use super::{
    answer::{Answer, Begun},
    session,
};
use crate::{
    guard::{Caller, Guard},
    protocol::{
        era::{Era, Version},
        refusal::{Refusal, SUPPORTED_VERSIONS},
        request::Request,
    },
};

/// The key of `_meta` under which a server names itself.
pub(super) const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

pub(super) fn begin<'s>(
    guard: &Guard,
    caller: Caller<'s>,
    request: &mut Request<'_>,
    id: &str,
) -> Option<Result<Begun<'s>, Refusal>> {
    let answer = match (request.era, &*request.message.method) {
        (Era::Handshake, "initialize") => initialize(guard, caller, request, id),
        (Era::Handshake, "ping") => counted(guard, caller, || Answer::result(id, "{}")),
        (Era::Stateless, "server/discover") => counted(guard, caller, || Answer::result(id, &discover(caller))),
        _ => return None,
    };
    Some(answer.map(Begun::Answer))
}

/// An answer that takes from the caller's allowance.
fn counted(guard: &Guard, caller: Caller<'_>, answer: impl FnOnce() -> Answer) -> Result<Answer, Refusal> {
    guard.take_allowance(caller).map(|()| answer())
}

fn initialize(guard: &Guard, caller: Caller<'_>, request: &Request<'_>, id: &str) -> Result<Answer, Refusal> {
    let Some(requested) = request.message.param("protocolVersion").and_then(|version| version.as_str()) else {
        let refusal = Refusal::InvalidParams("Invalid params: `protocolVersion` must be a string".into());
        return Err(guard.refuse(caller, refusal));
    };
    // A client that asks for a revision that is not served is offered the latest.
    let version = Version::parse(requested).unwrap_or(Version::LATEST);
    let server = &caller.snapshot.server_info;
    let result = format!(
        r#"{{"protocolVersion":"{}","capabilities":{{"tools":{{}}}},"serverInfo":{server}}}"#,
        version.as_str()
    );
    let mut answer = counted(guard, caller, || Answer::result(id, &result))?;
    if let Answer::Result { session: id, .. } = &mut answer {
        *id = Some(session::open(guard, caller, version));
    }
    Ok(answer)
}

fn discover(caller: Caller<'_>) -> String {
    let supported = SUPPORTED_VERSIONS.map(|version| format!("\"{version}\"")).join(",");
    let server = &caller.snapshot.server_info;
    format!(
        r#"{{"resultType":"complete","supportedVersions":[{supported}],"capabilities":{{"tools":{{}}}},"ttlMs":0,"cacheScope":"private","_meta":{{"{SERVER_INFO}":{server}}}}}"#
    )
}
