//! The outcomes of messages as HTTP responses.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::{guard::Reply, protocol::era::Era, transport::response::json};

/// A notification was taken; none means anything to this server.
pub fn accepted() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// `result` is a JSON object.
pub fn result(id: &str, result: &str) -> Response<Full<Bytes>> {
    let mut body = opening(id, result.len());
    body.push_str(result);
    body.push('}');
    json(StatusCode::OK, body.into())
}

/// A tool's result, with what the revision adds to it.
pub fn reply(id: &str, reply: &Reply, era: Era, server_info: &str) -> Response<Full<Bytes>> {
    let mut body = opening(id, reply.members.len() + server_info.len() + 160).into_bytes();
    body.extend_from_slice(match era {
        Era::Handshake => b"{",
        Era::Stateless => br#"{"resultType":"complete","#,
    });
    body.extend_from_slice(&reply.members);
    let truncated = r#""portcullis.dev/truncated":true"#;
    let meta = match (era, reply.truncated) {
        (Era::Handshake, false) => String::new(),
        (Era::Handshake, true) => format!(r#","_meta":{{{truncated}}}"#),
        (Era::Stateless, false) => format!(r#","_meta":{{"{SERVER_INFO}":{server_info}}}"#),
        (Era::Stateless, true) => format!(r#","_meta":{{"{SERVER_INFO}":{server_info},{truncated}}}"#),
    };
    body.extend_from_slice(meta.as_bytes());
    body.extend_from_slice(b"}}");
    json(StatusCode::OK, body.into())
}

/// A list of tools, each as JSON. It may not be kept (`ttlMs` 0): a policy is enforced at once, and so it should show.
pub fn tools<'a>(
    id: &str,
    definitions: impl Iterator<Item = &'a str> + Clone,
    era: Era,
    server_info: &str,
) -> Response<Full<Bytes>> {
    let length: usize = definitions.clone().map(|definition| definition.len() + 1).sum();
    let mut body = opening(id, length + server_info.len() + 160);
    body.push_str(match era {
        Era::Handshake => r#"{"tools":["#,
        Era::Stateless => r#"{"resultType":"complete","tools":["#,
    });
    for (n, definition) in definitions.enumerate() {
        if n > 0 {
            body.push(',');
        }
        body.push_str(definition);
    }
    body.push(']');
    if era == Era::Stateless {
        body.push_str(r#","ttlMs":0,"cacheScope":"private","_meta":{""#);
        for part in [SERVER_INFO, r#"":"#, server_info, "}"] {
            body.push_str(part);
        }
    }
    body.push_str("}}");
    json(StatusCode::OK, body.into())
}

/// The key of `_meta` under which a server says who it is.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

fn opening(id: &str, more: usize) -> String {
    let mut body = String::with_capacity(more + id.len() + 48);
    body.push_str(r#"{"jsonrpc":"2.0","id":"#);
    body.push_str(id);
    body.push_str(r#","result":"#);
    body
}
