//! Which revision of MCP a message belongs to, and whether its headers and its body agree about it.
//!
//! The body decides: a request whose `_meta` names a version belongs to the era of that version; `initialize`, and every
//! request that names no version, belongs to the older era. The header is compared with that and never moves a message from
//! one era to the other, which is how the official servers decide (specification 2026-07-28, Versioning, and Streamable HTTP,
//! Server Validation).

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderName;

use super::{
    headers::{Header, HeaderError, RequestHeaders},
    message::Message,
    refusal::Refusal,
};

static VERSION_HEADER: HeaderName = HeaderName::from_static("mcp-protocol-version");
static METHOD_HEADER: HeaderName = HeaderName::from_static("mcp-method");
static NAME_HEADER: HeaderName = HeaderName::from_static("mcp-name");
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";
const STATELESS: &str = "2026-07-28";

/// A revision in which a client begins with `initialize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
}

impl Version {
    /// The revision offered to a client that asks for one that is not served.
    pub const LATEST: Self = Self::V2025_11_25;

    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25].into_iter().find(|version| version.as_str() == text)
    }

    /// The one that the header names.
    pub fn of_header(headers: &dyn RequestHeaders) -> Option<Self> {
        Self::parse(header(headers, &VERSION_HEADER).ok()??)
    }
}

/// Whether a caller cancels its request by closing its side of the connection: only in 2026-07-28 (Streamable HTTP, Cancellation),
/// whose requests name it in their header.
pub fn is_cancelled_by_closing(headers: &dyn RequestHeaders) -> bool {
    matches!(headers.get(&VERSION_HEADER), Header::Once(version) if version.trim_ascii() == STATELESS.as_bytes())
}

/// A group of revisions that are served alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2025-03-26 to 2025-11-25: `initialize` comes first, and may open a session.
    Handshake,
    /// 2026-07-28: each request is complete by itself.
    Stateless,
}

/// The era of a message. `agreed` is the revision of the session that it belongs to.
///
/// # Errors
/// Returns an error if the headers contradict the body or the session, if the version is not served, or if a request of the stateless era
/// lacks what its `_meta` must contain.
pub fn of(message: &Message<'_>, headers: &dyn RequestHeaders, agreed: Option<Version>) -> Result<Era, Refusal> {
    let header = header(headers, &VERSION_HEADER)?;
    let claimed = match message.meta(VERSION_KEY) {
        Some(node) => Some(node.as_str().ok_or(Refusal::EnvelopeMissing("the protocol version must be a string"))?),
        None => None,
    };
    if message.method == "initialize" && claimed != Some(STATELESS) {
        return match header {
            Some(STATELESS) => Err(mismatch("the revision in the header has no initialize")),
            _ => Ok(Era::Handshake),
        };
    }
    if let (Some(agreed), Some(named)) = (agreed, header.or(claimed))
        && named != agreed.as_str()
    {
        return Err(Refusal::NotOfSession { agreed: agreed.as_str(), named: named.to_owned() });
    }
    match (claimed, header) {
        (Some(claimed), Some(header)) if claimed != header => {
            Err(mismatch("MCP-Protocol-Version is not the version in _meta"))
        }
        (Some(STATELESS), None) if message.id.is_some() => Err(mismatch("MCP-Protocol-Version is missing")),
        (Some(STATELESS), _) => stateless(message, headers),
        (Some(version), _) | (None, Some(version)) if Version::parse(version).is_some() => Ok(Era::Handshake),
        (None, None) => Ok(Era::Handshake),
        // A notification has no envelope in the specification: its header alone names the era.
        (None, Some(STATELESS)) if message.id.is_none() => stateless(message, headers),
        (None, Some(STATELESS)) => Err(Refusal::EnvelopeMissing(
            "_meta must have io.modelcontextprotocol/protocolVersion and io.modelcontextprotocol/clientCapabilities",
        )),
        (Some(requested), _) | (None, Some(requested)) => {
            Err(Refusal::UnsupportedVersion { requested: requested.to_owned() })
        }
    }
}

fn stateless(message: &Message<'_>, headers: &dyn RequestHeaders) -> Result<Era, Refusal> {
    let is_request = message.id.is_some();
    match header(headers, &METHOD_HEADER)? {
        Some(method) if method != message.method => {
            return Err(mismatch("Mcp-Method is not the method in the body"));
        }
        None if is_request => return Err(mismatch("Mcp-Method is missing")),
        _ => {}
    }
    if !is_request {
        return Ok(Era::Stateless);
    }
    let name = match &*message.method {
        "tools/call" | "prompts/get" => message.param("name"),
        "resources/read" => message.param("uri"),
        _ => None,
    };
    if let Some(name) = name.and_then(|node| node.as_str()) {
        let sent = header(headers, &NAME_HEADER)?.ok_or(mismatch("Mcp-Name is missing"))?;
        if *decoded(sent)? != *name.as_bytes() {
            return Err(mismatch("Mcp-Name is not the name in the body"));
        }
    }
    match message.meta(CAPABILITIES_KEY) {
        Some(node) if node.as_object().is_some() => Ok(Era::Stateless),
        _ => Err(Refusal::EnvelopeMissing("_meta must have io.modelcontextprotocol/clientCapabilities, an object")),
    }
}

fn mismatch(why: &'static str) -> Refusal {
    Refusal::HeaderMismatch(why.into())
}

/// The value of a header that may appear once.
pub(super) fn header<'a>(headers: &'a dyn RequestHeaders, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    match headers.get(name).text() {
        Ok(value) => Ok(value.map(str::trim)),
        Err(HeaderError::Repeated) => Err(mismatch("a header of MCP appears twice")),
        Err(HeaderError::NotText) => {
            Err(mismatch("a header of MCP contains characters that are not allowed in a header"))
        }
    }
}

/// What the value of a header stands for: itself, or what is there as base64 between `=?base64?` and `?=`.
pub(super) fn decoded(header: &str) -> Result<Cow<'_, [u8]>, Refusal> {
    match header.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        None => Ok(Cow::Borrowed(header.as_bytes())),
        Some(encoded) => match STANDARD.decode(encoded) {
            Ok(decoded) => Ok(Cow::Owned(decoded)),
            Err(_) => Err(mismatch("a header of MCP contains invalid base64")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{headers::Pairs, strict};

    const VERSION: &str = "mcp-protocol-version";
    const METHOD: &str = "mcp-method";
    const NAME: &str = "mcp-name";

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

    fn era(method: &str, params: &str, id: &str, headers: &[(&str, &str)]) -> Result<Era, Refusal> {
        let text = format!(r#"{{"jsonrpc":"2.0",{id}"method":"{method}","params":{{{params}}}}}"#);
        of(&Message::read(strict::parse(text.as_bytes()).unwrap()).unwrap(), &Pairs(headers), None)
    }

    fn request(method: &str, params: &str, headers: &[(&str, &str)]) -> Result<Era, Refusal> {
        era(method, params, r#""id":1,"#, headers)
    }

    #[test]
    fn older_revisions_are_served_with_and_without_a_header() {
        for headers in [&[][..], &[(VERSION, "2025-03-26")], &[(VERSION, "2025-11-25")]] {
            assert_eq!(request("tools/list", "", headers), Ok(Era::Handshake));
        }
        assert_eq!(request("initialize", r#""protocolVersion":"2024-11-05""#, &[]), Ok(Era::Handshake));
    }

    #[test]
    fn the_headers_and_the_body_of_the_stateless_revision_must_agree() {
        let v = (VERSION, STATELESS);
        let call = (METHOD, "tools/call");
        let params = format!(r#""name":"é",{META}"#);
        assert_eq!(request("tools/call", &params, &[v, call, (NAME, "=?base64?w6k=?=")]), Ok(Era::Stateless));
        assert_eq!(request("server/discover", META, &[v, (METHOD, "server/discover")]), Ok(Era::Stateless));
        for headers in [
            &[call, (NAME, "=?base64?w6k=?=")][..],
            &[v, (NAME, "=?base64?w6k=?=")],
            &[v, call],
            &[v, call, (NAME, "e")],
            &[v, call, (NAME, "=?base64?%?=")],
            &[v, v, call, (NAME, "=?base64?w6k=?=")],
            &[(VERSION, "2025-11-25"), call, (NAME, "=?base64?w6k=?=")],
            &[v, (METHOD, "tools/list"), (NAME, "=?base64?w6k=?=")],
        ] {
            let refused = request("tools/call", &params, headers).unwrap_err();
            assert_eq!(refused.code(), -32020, "{headers:?}");
        }
        assert_eq!(request("initialize", "", &[v]).unwrap_err().code(), -32020);
    }

    #[test]
    fn a_request_of_a_session_is_of_the_revision_that_was_agreed() {
        let meta = |version: &str| format!(r#","params":{{"_meta":{{"{VERSION_KEY}":"{version}"}}}}"#);
        for agreed in [Version::V2025_03_26, Version::V2025_06_18, Version::V2025_11_25] {
            let of = |method: &str, params: &str, headers: &[(&str, &str)]| {
                let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"{params}}}"#);
                let message = Message::read(strict::parse(text.as_bytes()).unwrap()).unwrap();
                super::of(&message, &Pairs(headers), Some(agreed))
            };
            assert_eq!(of("tools/list", "", &[]), Ok(Era::Handshake));
            assert_eq!(of("tools/list", "", &[(VERSION, agreed.as_str())]), Ok(Era::Handshake));
            assert_eq!(of("tools/list", &meta(agreed.as_str()), &[]), Ok(Era::Handshake));
            for named in ["2025-03-26", "2025-06-18", "2025-11-25", STATELESS, "1900-01-01", ""] {
                if named == agreed.as_str() {
                    continue;
                }
                let expected = Err(Refusal::NotOfSession { agreed: agreed.as_str(), named: named.into() });
                assert_eq!(of("tools/list", "", &[(VERSION, named)]), expected);
                assert_eq!(of("tools/list", &meta(named), &[]), expected);
                assert_eq!(of("tools/list", &meta(agreed.as_str()), &[(VERSION, named)]), expected);
            }
            assert_eq!(of("initialize", "", &[(VERSION, "2025-03-26")]), Ok(Era::Handshake), "a new session");
        }
    }

    #[test]
    fn a_version_that_is_not_served_is_refused_by_its_name() {
        let claim = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"1900-01-01","io.modelcontextprotocol/clientCapabilities":{}}"#;
        for refused in [
            request("tools/list", claim, &[(VERSION, "1900-01-01"), (METHOD, "tools/list")]),
            request("tools/list", "", &[(VERSION, "1900-01-01")]),
        ] {
            assert_eq!(refused, Err(Refusal::UnsupportedVersion { requested: "1900-01-01".into() }));
        }
    }

    #[test]
    fn a_stateless_request_without_its_envelope_is_refused() {
        let headers = [(VERSION, STATELESS), (METHOD, "tools/list")];
        let version = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        let number = r#""_meta":{"io.modelcontextprotocol/protocolVersion":1}"#;
        for params in ["", version, number] {
            let refused = request("tools/list", params, &headers).unwrap_err();
            assert_eq!(refused.code(), -32602, "{params}");
        }
        assert_eq!(era("notifications/cancelled", "", "", &[(VERSION, STATELESS)]), Ok(Era::Stateless));
    }
}
