//! `tools/list` and `tools/call`.

use std::{future::poll_fn, pin::pin};

use bytes::Bytes;

use super::{
    answer::{Answer, Begun, Pending, PendingCall, begin_result},
    cancelled,
    lifecycle::SERVER_INFO,
    session,
};
use crate::{
    cancellation::{Cancellation, WaitingCalls},
    config::Definition,
    guard::{Caller, Delivery, Guard, Prepared, Reply, authorise},
    protocol::{
        era::{Era, Version},
        json::{self, Buffer},
        refusal::Refusal,
        request::Request,
        result::ToolResult,
        strict::Json,
        trace::TraceContext,
    },
};

/// A larger result is a piece of its response; a smaller one is copied into it, which is faster than to send it by itself.
const COPIED: usize = 16 * 1024;

pub(super) fn begin<'s>(
    guard: &Guard,
    caller: Caller<'s>,
    request: &mut Request<'_>,
    id: &str,
) -> Option<Result<Begun<'s>, Refusal>> {
    Some(match &*request.message.method {
        "tools/list" => list(guard, caller, request, id).map(Begun::Answer),
        "tools/call" => Ok(match prepare(guard, caller, request) {
            Ok(prepared) => {
                let (era, session) = (request.era, session::number(request));
                let call = PendingCall { id: id.to_owned(), era, session, prepared };
                Begun::Pending(Pending::ToolCall(Box::new(call)))
            }
            Err(refusal) => Begun::Answer(refused(id, refusal, request.era, &caller.snapshot.server_info)),
        }),
        _ => return None,
    })
}

/// Makes a call. It is registered when it first has to wait, so that one which does not costs nothing more.
pub(super) async fn finish(
    guard: &Guard,
    waiting: &WaitingCalls,
    caller: Caller<'_>,
    call: Box<PendingCall<'_>>,
) -> Answer {
    let PendingCall { id, era, session, prepared } = *call;
    let cancellation = match era {
        Era::Handshake => Cancellation::once_registered(),
        Era::Stateless => Cancellation::never(),
    };
    let outcome = {
        let mut call = pin!(guard.call(caller, prepared, &cancellation));
        let mut registered = None;
        poll_fn(|cx| {
            let polled = call.as_mut().poll(cx);
            if polled.is_pending() && era == Era::Handshake && registered.is_none() {
                let identity = caller.identity.fingerprint;
                registered = cancelled::id(&id).and_then(|id| waiting.register(identity, session, id, &cancellation));
            }
            polled
        })
        .await
    };
    match outcome {
        // Whoever cancelled the call waits for no response to it: the clients of the official SDKs log one as an error. If the call
        // succeeded nevertheless, its record says that nobody was told.
        Ok(_) if cancellation.is_cancelled() => Answer::Accepted,
        Ok(reply) => {
            let Reply { members, truncated, retry_after, delivery } = reply;
            let meta = Meta { truncated, retry_after };
            result_of(&id, members, meta, (era, &caller.snapshot.server_info), Some(delivery))
        }
        Err(refusal) => refused(&id, refusal, era, &caller.snapshot.server_info),
    }
}

/// The answer to a call that was not made.
fn refused(id: &str, refusal: Refusal, era: Era, server_info: &str) -> Answer {
    match refusal {
        Refusal::InvalidArguments(message) => {
            let members = ToolResult::of_text(&message, true).members().into();
            result_of(id, members, Meta::default(), (era, server_info), None)
        }
        refusal => Answer::refusal(refusal, Some(id)),
    }
}

fn prepare<'s>(guard: &Guard, caller: Caller<'s>, request: &mut Request<'_>) -> Result<Prepared<'s>, Refusal> {
    let Request { era, message, carrier } = request;
    let arguments = message.take_param("arguments");
    let Some(name) = message.param("name").and_then(|name| name.as_str()) else {
        let refusal = Refusal::InvalidParams("Invalid params: `name` must be a string".into());
        return Err(guard.refuse(caller, refusal));
    };
    // Checked only for a tool that the caller may call: the refusal of a denied one reveals nothing about its schema.
    if *era == Era::Stateless
        && let Ok(tool) = authorise(caller.snapshot.tools.by_name.get(name), caller.identity)
        && let Err(refusal) =
            tool.param_headers.iter().try_for_each(|header| header.agrees(arguments.as_ref(), carrier.headers()))
    {
        return Err(guard.refuse(caller, refusal));
    }
    let trace = TraceContext::of_request(message, carrier.headers());
    Ok(guard.prepare(caller, name, arguments)?.within(trace))
}

fn list(guard: &Guard, caller: Caller<'_>, request: &Request<'_>, id: &str) -> Result<Answer, Refusal> {
    // A list has one page, so this server never handed out a cursor.
    if request.message.param("cursor").is_some_and(|cursor| cursor.value != Json::Null) {
        let refusal = Refusal::InvalidParams("Invalid params: unknown `cursor`".into());
        return Err(guard.refuse(caller, refusal));
    }
    guard.take_allowance(caller)?;
    // Written for each request: copying it costs as much as sending it, and cached lists would add up with the clients.
    let Caller { snapshot, identity, .. } = caller;
    let granted = snapshot.tools.by_name.values().filter(|tool| authorise(Some(tool), identity).is_ok());
    let definitions = granted.map(|tool| &tool.definition);
    let version = version(caller, request);
    Ok(list_of(id, definitions, (identity.client.max_records, version), request.era, &snapshot.server_info))
}

/// The revision in which a caller is shown the tools: that of its session, or else the one that its header names. A caller that names
/// none is shown everything: what a client does not know it skips.
fn version(caller: Caller<'_>, request: &Request<'_>) -> Version {
    match request.era {
        Era::Handshake => session::version(caller, request.carrier.session())
            .or_else(|| Version::of_header(request.carrier.headers()))
            .unwrap_or(Version::LATEST),
        Era::Stateless => Version::LATEST,
    }
}

/// What this server says beside a result.
#[derive(Clone, Copy, Default)]
struct Meta {
    truncated: bool,
    /// After how many seconds the backend says that it may be called again.
    retry_after: Option<u64>,
}

impl Meta {
    /// Appends `_meta`, if there is anything in it.
    fn push(self, server_info: Option<&str>, execution_id: Option<&str>, out: &mut Vec<u8>) {
        let Self { truncated, retry_after } = self;
        if server_info.is_none() && execution_id.is_none() && !truncated && retry_after.is_none() {
            return;
        }
        out.push_text(r#","_meta":"#);
        let mut meta = json::object(out);
        if let Some(server_info) = server_info {
            meta.member(SERVER_INFO).push_text(server_info);
        }
        if let Some(id) = execution_id {
            json::push_string(meta.member("portcullis.dev/executionId"), id);
        }
        if truncated {
            meta.member("portcullis.dev/truncated").push_text("true");
        }
        if let Some(seconds) = retry_after {
            json::push_number(meta.member("portcullis.dev/retryAfter"), seconds);
        }
        meta.close();
    }
}

/// The response with a tool's result, and with what the revision adds to it.
fn result_of(
    id: &str,
    members: Bytes,
    meta: Meta,
    (era, server_info): (Era, &str),
    delivery: Option<Box<Delivery>>,
) -> Answer {
    let is_copied = members.len() <= COPIED;
    let length = server_info.len() + 160 + if is_copied { members.len() } else { 0 };
    let mut response = begin_result(id, length).into_bytes();
    response.extend_from_slice(match era {
        Era::Handshake => b"{",
        Era::Stateless => br#"{"resultType":"complete","#,
    });
    let mut pieces = Vec::with_capacity(3);
    if is_copied {
        response.extend_from_slice(&members);
    } else {
        pieces.extend([std::mem::take(&mut response).into(), members]);
    }
    let execution_id = delivery.as_deref().map(Delivery::execution_id);
    meta.push((era == Era::Stateless).then_some(server_info), execution_id, &mut response);
    response.extend_from_slice(b"}}");
    pieces.push(response.into());
    Answer::Result { response: pieces, session: None, delivery }
}

/// The response with a list of tools, each as JSON. Clients may not cache it (`ttlMs` 0): a change of the policy is in force at
/// once, and has to show at once.
fn list_of<'a>(
    id: &str,
    definitions: impl Iterator<Item = &'a Definition> + Clone,
    (max_records, version): (u32, Version),
    era: Era,
    server_info: &str,
) -> Answer {
    let length: usize = definitions.clone().map(|definition| definition.most_bytes() + 1).sum();
    let mut response = begin_result(id, length + server_info.len() + 160);
    response.push_str(match era {
        Era::Handshake => r#"{"tools":["#,
        Era::Stateless => r#"{"resultType":"complete","tools":["#,
    });
    for (n, definition) in definitions.enumerate() {
        if n > 0 {
            response.push(',');
        }
        definition.push(max_records, version, &mut response);
    }
    response.push(']');
    if era == Era::Stateless {
        response.push_str(r#","ttlMs":0,"cacheScope":"private","_meta":{""#);
        for part in [SERVER_INFO, r#"":"#, server_info, "}"] {
            response.push_str(part);
        }
    }
    response.push_str("}}");
    Answer::Result { response: vec![response.into()], session: None, delivery: None }
}
