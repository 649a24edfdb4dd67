//! One JSON-RPC message, as MCP narrows it: an object, never a batch, with a string or integer id.
//!
//! Revision 2025-03-26 has batches; they are refused, as in 2025-06-18 and later. Responses are refused too: this server
//! sends its callers no requests.

use std::borrow::Cow;

use portcullis_crds::schema::Number;

use super::strict::{Json, Node};

/// A request, or, without an id, a notification.
#[derive(Debug, PartialEq)]
pub struct Message<'a> {
    /// The id as it was written, to be returned unchanged.
    pub id: Option<&'a str>,
    pub method: Cow<'a, str>,
    /// An object, if there are any.
    pub params: Option<Node<'a>>,
}

/// JSON that is not a message. `id` is the id of the request, if it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed<'a> {
    pub id: Option<&'a str>,
    pub why: &'static str,
}

/// The longest id, in bytes as it is written: it is kept while its request waits, beside every budget of bytes.
const MOST_ID: usize = 256;

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// Returns the first rule of JSON-RPC 2.0 or of MCP's base protocol that the value breaks.
    pub fn read(node: Node<'a>) -> Result<Self, Malformed<'a>> {
        let members = match node.value {
            Json::Object(members) => members,
            Json::Array(_) => return Err(Malformed { id: None, why: "batches are not served; send one message" }),
            _ => return Err(Malformed { id: None, why: "a message must be an object" }),
        };
        let mut id = None;
        let mut method = None;
        let mut params = None;
        let mut is_2_0 = false;
        let mut is_response = false;
        let mut why = None;
        for (name, value) in members {
            match &*name {
                "jsonrpc" => is_2_0 = value.as_str() == Some("2.0"),
                "id" => match value.value {
                    _ if value.raw.len() > MOST_ID => why = Some("`id` must not be longer than 256 bytes"),
                    Json::String(_) => id = Some(value.raw),
                    Json::Number(digits) if is_integer(digits) => id = Some(digits),
                    _ => why = Some("`id` must be a string or an integer"),
                },
                "method" => match value.value {
                    Json::String(text) => method = Some(text),
                    _ => why = Some("`method` must be a string"),
                },
                "params" => match value.value {
                    Json::Object(_) => params = Some(value),
                    Json::Null => {}
                    _ => why = Some("`params` must be an object"),
                },
                "result" | "error" => is_response = true,
                _ => {}
            }
        }
        let malformed = |why| Err(Malformed { id, why });
        match (why, method) {
            _ if !is_2_0 => malformed("`jsonrpc` must be \"2.0\""),
            (Some(why), _) => malformed(why),
            (None, None) if is_response => malformed("responses are not expected: this server sends no requests"),
            (None, None) => malformed("`method` is missing"),
            (None, Some(_)) if is_response => malformed("a message with a `method` has no `result` or `error`"),
            (None, Some(method)) => Ok(Self { id, method, params }),
        }
    }

    /// A member of `params`.
    pub fn param(&self, name: &str) -> Option<&Node<'a>> {
        self.params.as_ref()?.get(name)
    }

    /// A member of `params._meta`.
    pub fn meta(&self, name: &str) -> Option<&Node<'a>> {
        self.param("_meta")?.get(name)
    }

    /// Takes a member out of `params`.
    pub fn take_param(&mut self, name: &str) -> Option<Node<'a>> {
        let Json::Object(members) = &mut self.params.as_mut()?.value else { return None };
        let at = members.iter().position(|(key, _)| key == name)?;
        Some(members.swap_remove(at).1)
    }
}

/// Whether a number is an integer by its value, such as `1.0`.
fn is_integer(digits: &str) -> bool {
    !digits.contains(['.', 'e', 'E']) || Number::parse(digits).is_some_and(Number::is_integer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::strict;

    #[test]
    fn a_request_keeps_its_id_as_written() {
        for (text, id) in [
            (r#"{"jsonrpc":"2.0","id":"a\u0062","method":"ping"}"#, Some(r#""a\u0062""#)),
            (r#"{"jsonrpc":"2.0","id":12345678901234567890123,"method":"ping"}"#, Some("12345678901234567890123")),
            (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping","params":null}"#, Some("1.0")),
            (r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#, Some("1e3")),
            (r#"{"jsonrpc":"2.0","id":1e0,"method":"ping","params":{"_meta":null}}"#, Some("1e0")),
            (r#"{"jsonrpc":"2.0","id":-0,"method":"ping","params":{}}"#, Some("-0")),
            (r#"{"jsonrpc":"2.0","id":-9007199254740993,"method":"ping"}"#, Some("-9007199254740993")),
            (r#"{"jsonrpc":"2.0","id":"","method":"ping"}"#, Some(r#""""#)),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized","other":1}"#, None),
        ] {
            let message = Message::read(strict::parse(text.as_bytes()).unwrap()).unwrap();
            assert_eq!(message.id, id, "{text}");
        }
    }

    #[test]
    fn json_that_is_not_a_message_is_refused_with_the_id_if_it_has_one() {
        for (text, id, part) in [
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, None, "batches"),
            (r#""ping""#, None, "an object"),
            (r#"{"id":1,"method":"ping"}"#, Some("1"), "jsonrpc"),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Some("1"), "jsonrpc"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, None, "`id`"),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, None, "`id`"),
            (r#"{"jsonrpc":"2.0","id":5e-1,"method":"ping"}"#, None, "`id`"),
            (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, None, "`id`"),
            (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, None, "`id`"),
            (&format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(255)), None, "256 bytes"),
            (&format!(r#"{{"jsonrpc":"2.0","id":{},"method":"ping"}}"#, "1".repeat(257)), None, "256 bytes"),
            (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, Some("1"), "`method`"),
            (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Some("1"), "jsonrpc"),
            ("[]", None, "batches"),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, Some("1"), "`method`"),
            (r#"{"jsonrpc":"2.0","id":1}"#, Some("1"), "`method`"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, Some("1"), "`params`"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some("1"), "responses"),
        ] {
            let refused = Message::read(strict::parse(text.as_bytes()).unwrap()).unwrap_err();
            assert_eq!(refused.id, id, "{text}");
            assert!(refused.why.contains(part), "{text}: {}", refused.why);
        }
    }
}
