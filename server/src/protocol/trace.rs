//! The trace that a call belongs to (W3C Trace Context), so that the caller's trace, the audit records and the backend's log of one
//! call can be matched.
//!
//! This server exports no spans. It therefore passes the caller's `traceparent` on as it is: a span id of its own would be a parent
//! that no trace has. A call without one begins a trace of its own, whose ids follow from the id of the call. `baggage` is never read:
//! it may hold anything, and a backend may be anybody's.

use std::str;

use http::HeaderName;
use sha2::{Digest, Sha256};

use super::{headers::RequestHeaders, message::Message};

/// The bytes of a `traceparent` of version 00: `00-<trace id>-<parent id>-<flags>`.
const BYTES: usize = 55;
/// The most bytes of a `tracestate`, which is what participants should at least pass on (section 3.3.1.5), and its most members.
const MOST_STATE: usize = 512;
const MOST_MEMBERS: usize = 32;

static PARENT: HeaderName = HeaderName::from_static("traceparent");
static STATE: HeaderName = HeaderName::from_static("tracestate");

/// A trace, and the span in it that a call belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    parent: [u8; BYTES],
    state: Option<Box<str>>,
}

impl TraceContext {
    /// The trace that a caller names: in `_meta` (SEP-414), or else in the headers, which may be those of a proxy. `None` if neither
    /// has a valid `traceparent`, which is no error: the specification lets a trace begin anew.
    pub fn of_request(message: &Message<'_>, headers: &dyn RequestHeaders) -> Option<Self> {
        let meta = |name: &HeaderName| message.meta(name.as_str())?.as_str();
        let header = |name: &HeaderName| headers.get(name).text().ok()?;
        let from_meta = meta(&PARENT).and_then(parsed).map(|parent| (parent, meta(&STATE)));
        let (parent, state) =
            from_meta.or_else(|| header(&PARENT).and_then(parsed).map(|parent| (parent, header(&STATE))))?;
        Some(Self { parent, state: state.filter(|state| is_state(state)).map(Into::into) })
    }

    /// A trace of this call alone. Its ids are the beginning of the SHA-256 of the call's id. It is flagged as recorded, which it is:
    /// in the audit log.
    pub fn of_call(execution_id: &str) -> Self {
        let digest = Sha256::digest(execution_id);
        let mut parent = *b"00-00000000000000000000000000000000-0000000000000000-01";
        for (bytes, at) in [(&digest[..16], 3), (&digest[16..24], 36)] {
            // Cannot fail: each slice is twice as long as its bytes.
            let _ = hex::encode_to_slice(bytes, &mut parent[at..at + 2 * bytes.len()]);
        }
        Self { parent, state: None }
    }

    /// The trace id: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        text(&self.parent[3..35])
    }

    /// The `traceparent` for the backend.
    pub fn parent(&self) -> &str {
        text(&self.parent)
    }

    /// The `tracestate` for the backend.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

fn text(ascii: &[u8]) -> &str {
    str::from_utf8(ascii).expect("a traceparent must be ASCII")
}

/// A valid `traceparent` (section 3.2). One of a later version is read as one of version 00, as the specification requires.
fn parsed(value: &str) -> Option<[u8; BYTES]> {
    let value = value.trim_matches([' ', '\t']).as_bytes();
    let (parent, rest) = value.split_first_chunk::<BYTES>()?;
    let is_hex = |at: usize, end: usize| parent[at..end].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_set = |at: usize, end: usize| is_hex(at, end) && parent[at..end].iter().any(|byte| *byte != b'0');
    let has_dashes = [2, 35, 52].into_iter().all(|at| parent[at] == b'-');
    if !(has_dashes && is_hex(0, 2) && is_set(3, 35) && is_set(36, 52) && is_hex(53, 55)) {
        return None;
    }
    let mut parent = *parent;
    match (&parent[..2], rest) {
        (b"00", []) => {}
        (b"00" | b"ff", _) => return None,
        (_, [] | [b'-', ..]) => {
            // Of its flags only the sampled one is known.
            let sampled =
                if matches!(parent[54], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f') { b'1' } else { b'0' };
            parent[..2].copy_from_slice(b"00");
            parent[53..].copy_from_slice(&[b'0', sampled]);
        }
        _ => return None,
    }
    Some(parent)
}

/// Whether this is a `tracestate` that is passed on (section 3.3).
fn is_state(state: &str) -> bool {
    let is_member = |member: &str| {
        let Some((key, value)) = member.split_once('=') else { return member.is_empty() };
        let is_key = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
        let is_value = |byte| matches!(byte, b' '..=b'~') && byte != b'=';
        (1..=256).contains(&key.len())
            && (1..=256).contains(&value.len())
            && key.bytes().all(is_key)
            && value.bytes().all(is_value)
    };
    let mut members = state.split(',').map(|member| member.trim_matches([' ', '\t']));
    !state.is_empty() && state.len() <= MOST_STATE && members.clone().count() <= MOST_MEMBERS && members.all(is_member)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::protocol::{headers::Pairs, strict};

    const PARENT: &str = "traceparent";
    const STATE: &str = "tracestate";

    const A: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const B: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    /// The `traceparent` and the `tracestate` that a backend is sent.
    fn passed_on(meta: &[(&str, &str)], headers: &[(&str, &str)]) -> Option<(String, Option<String>)> {
        let meta: serde_json::Map<_, _> = meta.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"_meta": meta}}).to_string();
        let message = Message::read(strict::parse(message.as_bytes()).unwrap()).unwrap();
        let trace = TraceContext::of_request(&message, &Pairs(headers))?;
        assert_eq!(trace.id(), &trace.parent()[3..35]);
        Some((trace.parent().to_owned(), trace.state().map(str::to_owned)))
    }

    #[test]
    fn the_traceparent_of_the_message_is_passed_on_or_else_that_of_the_headers_each_with_its_own_tracestate() {
        let both = |parent: &str, state: Option<&str>| Some((parent.to_owned(), state.map(str::to_owned)));
        for (meta, headers, expected) in [
            (&[(PARENT, A), (STATE, "a=1")][..], &[(PARENT, B), (STATE, "b=2")][..], both(A, Some("a=1"))),
            (&[(PARENT, A)], &[(PARENT, B), (STATE, "b=2")], both(A, None)),
            (&[(PARENT, "x"), (STATE, "a=1")], &[(PARENT, B), (STATE, "b=2")], both(B, Some("b=2"))),
            (&[(STATE, "a=1")], &[(PARENT, B)], both(B, None)),
            (&[], &[(PARENT, " \t00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00 ")], both(B, None)),
            (&[(STATE, "a=1")], &[(STATE, "b=2")], None),
            (&[], &[(PARENT, A), (PARENT, A)], None),
            (&[], &[(PARENT, A), (STATE, "b=2"), (STATE, "c=3")], both(A, None)),
            (&[("baggage", A)], &[("baggage", A)], None),
        ] {
            assert_eq!(passed_on(meta, headers), expected, "{meta:?} {headers:?}");
        }
    }

    #[test]
    fn only_a_valid_traceparent_is_passed_on() {
        let version_00 = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0";
        for (sent, expected) in [
            (A, Some(A)),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03",
                Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03"),
            ),
            ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Some(A)),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what the future holds", Some(A)),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-010", None),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-", None),
            (version_00, None),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g", None),
            ("é0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
            ("", None),
        ] {
            for found in [passed_on(&[(PARENT, sent)], &[]), passed_on(&[], &[(PARENT, sent)])] {
                assert_eq!(found.as_ref().map(|(parent, _)| parent.as_str()), expected, "{sent}");
            }
        }
    }

    #[test]
    fn a_tracestate_is_passed_on_if_it_is_valid_and_bounded() {
        let longest = format!("a={}, b={}", "x".repeat(250), "y".repeat(255));
        assert_eq!(longest.len(), MOST_STATE - 1);
        let many = |n: usize| vec!["a=1"; n].join(",");
        for (state, is_passed_on) in [
            ("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", true),
            ("fw529a3039@dt=FfffF; x , a_b-c*d/e=1", true),
            ("a=1,,\t", true),
            (&longest, true),
            (&format!("{longest},,"), false),
            (&many(32), true),
            (&many(33), false),
            ("", false),
            ("a", false),
            ("A=1", false),
            ("=1", false),
            ("a=", false),
            ("a=1=2", false),
            ("a=é", false),
            ("a=1\r\nx-portcullis-client-id: b", false),
        ] {
            let found = passed_on(&[(PARENT, A), (STATE, state)], &[]).unwrap();
            assert_eq!(found, (A.to_owned(), is_passed_on.then(|| state.to_owned())), "{state}");
        }
    }

    #[test]
    fn a_call_without_a_trace_begins_one_whose_id_is_the_digest_of_its_own() {
        // `printf %s crm-0-5 | sha256sum`
        let expected = hex::encode(Sha256::digest("crm-0-5"));
        let trace = TraceContext::of_call("crm-0-5");
        assert_eq!(trace.parent(), format!("00-{}-{}-01", &expected[..32], &expected[32..48]));
        assert_eq!((trace.id(), trace.state()), (&expected[..32], None));
        assert_eq!(parsed(trace.parent()).as_ref().map(|it| &it[..]), Some(trace.parent().as_bytes()));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_what_is_passed_on_is_valid(parent in "\\PC*|[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", state in "\\PC*|[a-z]{1,3}=[ -~]{0,9}") {
            if let Some((parent, state)) = passed_on(&[(PARENT, &parent), (STATE, &state)], &[]) {
                prop_assert!(parsed(&parent).is_some() && parent.starts_with("00-"));
                prop_assert!(state.is_none_or(|state| http::HeaderValue::try_from(state).is_ok()));
            }
        }
    }
}
