//! Arguments that a tool's schema wants in a header too (`x-mcp-header`), so that what stands between can route by them.
//!
//! Clients of 2026-07-28 send them by themselves; a server must hold them against the body, or a proxy that trusts the header
//! and a server that trusts the body would disagree (specification 2026-07-28, Streamable HTTP, Custom Headers from Tool
//! Parameters).

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use super::{
    era,
    error::Refusal,
    strict::{Json, Node},
};

/// One argument that a header repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    header: HeaderName,
    /// The names that lead to the argument, from the root of the arguments.
    path: Vec<String>,
}

impl ParamHeader {
    /// All that a schema declares. What is no name of a header is left out: clients leave the whole tool out then.
    pub fn declared(schema: &Map<String, Value>) -> Vec<Self> {
        let mut found = Vec::new();
        walk(schema, &mut Vec::new(), &mut found);
        found
    }

    /// # Errors
    /// Where the argument is there, and its header is missing or says something else.
    pub fn agrees(&self, arguments: Option<&Node<'_>>, headers: &HeaderMap) -> Result<(), Refusal> {
        let argument = self.path.iter().try_fold(arguments, |node, name| Some(node?.get(name)));
        let Some(Some(node)) = argument else { return Ok(()) };
        let text = match &node.value {
            Json::String(text) => text,
            Json::Number(digits) => *digits,
            Json::Bool(true) => "true",
            Json::Bool(false) => "false",
            // No header for null; the schema refuses the others.
            Json::Null | Json::Array(_) | Json::Object(_) => return Ok(()),
        };
        let sent = era::header(headers, self.header.as_str())?
            .ok_or(Refusal::HeaderMismatch("a header that the tool's schema wants (x-mcp-header) is missing"))?;
        let is_number = matches!(node.value, Json::Number(_));
        if era::says(sent, text)? || (is_number && is_same_number(sent, text)) {
            Ok(())
        } else {
            Err(Refusal::HeaderMismatch("a header that the tool's schema wants is not what is in the arguments"))
        }
    }
}

fn walk(schema: &Map<String, Value>, path: &mut Vec<String>, found: &mut Vec<ParamHeader>) {
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let Some(property) = property.as_object() else { continue };
        path.push(name.clone());
        let header = property.get("x-mcp-header").and_then(Value::as_str).map(|name| format!("mcp-param-{name}"));
        if let Some(header) = header.and_then(|header| HeaderName::try_from(header).ok()) {
            found.push(ParamHeader { header, path: path.clone() });
        }
        walk(property, path, found);
        path.pop();
    }
}

/// `42.0` and `42` are equal.
fn is_same_number(sent: &str, text: &str) -> bool {
    matches!((sent.parse::<f64>(), text.parse::<f64>()), (Ok(sent), Ok(text)) if sent == text)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;
    use crate::protocol::strict;

    #[test]
    fn an_argument_and_its_header_must_agree() {
        let schema = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "page": {"type": "object", "properties": {"size": {"type": "integer", "x-mcp-header": "Size"}}},
            "other": {"type": "string", "x-mcp-header": "not a name"},
        }});
        let declared = ParamHeader::declared(schema.as_object().unwrap());
        assert_eq!(declared.len(), 2);
        let check = |arguments: &str, headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            let node = strict::parse(arguments.as_bytes()).unwrap();
            declared.iter().all(|header| header.agrees(Some(&node), &map).is_ok())
        };
        for (arguments, headers, agrees) in [
            ("{}", &[][..], true),
            (r#"{"region":null}"#, &[], true),
            (r#"{"region":"é"}"#, &[("mcp-param-region", "=?base64?w6k=?=")], true),
            (r#"{"region":"a","page":{"size":42}}"#, &[("mcp-param-region", "a"), ("mcp-param-size", "42.0")], true),
            (r#"{"region":"a"}"#, &[], false),
            (r#"{"region":"a"}"#, &[("mcp-param-region", "b")], false),
            (r#"{"region":"a"}"#, &[("mcp-param-region", "a"), ("mcp-param-region", "a")], false),
            (r#"{"page":{"size":42}}"#, &[("mcp-param-size", "43")], false),
        ] {
            assert_eq!(check(arguments, headers), agrees, "{arguments} {headers:?}");
        }
    }
}
