//! The methods, in both eras.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::Full;

use super::{
    Streamable,
    answer::{self, SERVER_INFO},
};
use crate::{
    guard::{Caller, Prepared, authorise},
    protocol::{
        era::{self, Era, Version},
        message::Message,
        refusal::{Refusal, SUPPORTED_VERSIONS},
        strict::Json,
    },
    session::SessionClaims,
    transport::error::refuse_message,
};

const SESSION: &str = "mcp-session-id";
/// How long a session id holds. A client whose id ended begins anew by itself.
const SESSION_HOLDS: Duration = Duration::from_secs(24 * 3600);

/// What a message leads to.
pub(super) enum Next<'s> {
    /// It is served.
    Answer(Response<Full<Bytes>>),
    Call(ToolCall<'s>),
}

/// A call of a tool, with all that its answer needs.
pub(super) struct ToolCall<'s> {
    /// The id of the request, as it was written.
    id: String,
    era: Era,
    prepared: Prepared<'s>,
}

impl Streamable {
    /// A message of a known caller.
    pub(super) fn serve<'s>(&self, caller: Caller<'s>, mut message: Message<'_>, headers: &HeaderMap) -> Next<'s> {
        let id = message.id;
        let refuse = |refusal| Next::Answer(refuse_message(&self.counted(caller, refusal), id));
        let era = match era::of(&message, headers) {
            Ok(era) => era,
            Err(refusal) => return refuse(refusal),
        };
        let is_first = message.method == "initialize";
        let in_session = era == Era::Handshake && !is_first && headers.contains_key(SESSION);
        if in_session && !self.is_session_of(caller, headers) {
            return refuse(Refusal::SessionNotFound);
        }
        let Some(id) = id else {
            return Next::Answer(match self.guard.take_allowance(caller) {
                Ok(()) => answer::accepted(),
                Err(over) => refuse_message(&over, None),
            });
        };
        if message.method == "tools/call" {
            return match self.prepare(caller, &mut message, (era, headers)) {
                Ok(prepared) => Next::Call(ToolCall { id: id.to_owned(), era, prepared }),
                Err(refusal) => Next::Answer(refuse_message(&refusal, Some(id))),
            };
        }
        let result = match (era, &*message.method) {
            (Era::Handshake, "initialize") => initialize(caller, &message),
            (Era::Handshake, "ping") => Ok("{}".to_owned()),
            (Era::Stateless, "server/discover") => Ok(discover(caller)),
            (_, "tools/list") => return Next::Answer(self.list(caller, &message, era, id)),
            _ => Err(Refusal::UnknownMethod { in_session }),
        };
        let result = match result {
            Ok(result) => result,
            Err(refusal) => return refuse(refusal),
        };
        if let Err(over) = self.guard.take_allowance(caller) {
            return Next::Answer(refuse_message(&over, Some(id)));
        }
        let mut response = answer::result(id, &result);
        if is_first && let Some(session) = self.session(caller, &message) {
            response.headers_mut().insert(SESSION, session);
        }
        Next::Answer(response)
    }

    /// Makes a call and words its outcome.
    pub(super) async fn call(&self, caller: Caller<'_>, call: ToolCall<'_>) -> Response<Full<Bytes>> {
        let ToolCall { id, era, prepared } = call;
        match self.guard.call(caller, prepared).await {
            Ok(reply) => answer::reply(&id, &reply, era, &caller.snapshot.server_info),
            Err(refusal) => refuse_message(&refusal, Some(&id)),
        }
    }

    fn prepare<'s>(
        &self,
        caller: Caller<'s>,
        message: &mut Message<'_>,
        (era, headers): (Era, &HeaderMap),
    ) -> Result<Prepared<'s>, Refusal> {
        let arguments = message.take_param("arguments");
        let Some(name) = message.param("name").and_then(|name| name.as_str()) else {
            let refusal = Refusal::InvalidParams("Invalid params: `name` must be a string".into());
            return Err(self.counted(caller, refusal));
        };
        // Asked only for a tool that the client has: a denied one says nothing about its schema.
        if era == Era::Stateless
            && let Ok(tool) = authorise(caller.snapshot.tools.by_name.get(name), caller.identity)
            && let Err(refusal) = tool.param_headers.iter().try_for_each(|h| h.agrees(arguments.as_ref(), headers))
        {
            return Err(self.counted(caller, refusal));
        }
        self.guard.prepare(caller, name, arguments)
    }

    fn list(&self, caller: Caller<'_>, message: &Message<'_>, era: Era, id: &str) -> Response<Full<Bytes>> {
        // Lists have one page, so that every cursor is one that we never gave.
        if message.param("cursor").is_some_and(|cursor| cursor.value != Json::Null) {
            let refusal = Refusal::InvalidParams("Invalid params: unknown `cursor`".into());
            return refuse_message(&self.counted(caller, refusal), Some(id));
        }
        if let Err(over) = self.guard.take_allowance(caller) {
            return refuse_message(&over, Some(id));
        }
        // Rendered for each request: it is as long as the answer anyway, and kept ones would add up with the clients.
        let Caller { snapshot, identity } = caller;
        let granted = snapshot.tools.by_name.values().filter(|tool| authorise(Some(tool), identity).is_ok());
        answer::tools(id, granted.map(|tool| tool.definition.as_str()), era, &snapshot.server_info)
    }

    fn is_session_of(&self, caller: Caller<'_>, headers: &HeaderMap) -> bool {
        let mut ids = headers.get_all(SESSION).iter();
        let (Some(Ok(id)), None) = (ids.next().map(HeaderValue::to_str), ids.next()) else { return false };
        let claims = caller.snapshot.sealer.open(id, unix_seconds());
        claims.is_some_and(|claims| claims.identity == caller.identity.fingerprint)
    }

    fn session(&self, caller: Caller<'_>, message: &Message<'_>) -> Option<HeaderValue> {
        let claims = SessionClaims {
            identity: caller.identity.fingerprint,
            version: negotiated(message)?.as_str().to_owned(),
            expiry: unix_seconds() + SESSION_HOLDS.as_secs(),
            owner: self.guard.audit.instance().to_owned(),
        };
        HeaderValue::from_str(&caller.snapshot.sealer.seal(&claims)).ok()
    }
}

/// The revision that a client gets: the one it asks for, or the latest.
fn negotiated(message: &Message<'_>) -> Option<Version> {
    let asked = message.param("protocolVersion")?.as_str()?;
    Some(Version::parse(asked).unwrap_or(Version::LATEST))
}

fn initialize(caller: Caller<'_>, message: &Message<'_>) -> Result<String, Refusal> {
    let version = negotiated(message)
        .ok_or(Refusal::InvalidParams("Invalid params: `protocolVersion` must be a string".into()))?
        .as_str();
    let server = &caller.snapshot.server_info;
    Ok(format!(r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{}}}},"serverInfo":{server}}}"#))
}

fn discover(caller: Caller<'_>) -> String {
    let supported = SUPPORTED_VERSIONS.map(|version| format!("\"{version}\"")).join(",");
    let server = &caller.snapshot.server_info;
    format!(
        r#"{{"resultType":"complete","supportedVersions":[{supported}],"capabilities":{{"tools":{{}}}},"ttlMs":0,"cacheScope":"private","_meta":{{"{SERVER_INFO}":{server}}}}}"#
    )
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
