//! Arguments that a header must repeat (`x-mcp-header` in a tool's schema), so that intermediaries can route by them.
//!
//! Clients of 2026-07-28 send these headers by themselves. The server compares them with the body; otherwise a proxy that
//! trusts the header and a server that trusts the body could disagree (specification 2026-07-28, Streamable HTTP, Custom
//! Headers from Tool Parameters).

use serde_json::{Map, Value};

use super::{
    era,
    headers::RequestHeaders,
    refusal::Refusal,
    strict::{Json, Node},
};

/// One argument that a header repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    /// In lower case.
    header: String,
    /// The names that lead to the argument, from the root of the arguments.
    path: Vec<String>,
}

impl ParamHeader {
    /// All headers that a schema declares. A name that is not valid in a header is skipped: clients skip the whole tool then.
    pub fn declared(schema: &Map<String, Value>) -> Vec<Self> {
        let mut found = Vec::new();
        walk(schema, &mut Vec::new(), &mut found);
        found
    }

    /// # Errors
    /// Returns an error if the argument is present and its header is missing or has another value.
    pub fn agrees(&self, arguments: Option<&Node<'_>>, headers: &dyn RequestHeaders) -> Result<(), Refusal> {
        let argument = self.path.iter().try_fold(arguments, |node, name| Some(node?.get(name)));
        let Some(Some(node)) = argument else { return Ok(()) };
        let text = match &node.value {
            Json::String(text) => text,
            Json::Number(digits) => *digits,
            Json::Bool(true) => "true",
            Json::Bool(false) => "false",
            // Null has no header, and the schema refuses arrays and objects.
            Json::Null | Json::Array(_) | Json::Object(_) => return Ok(()),
        };
        let sent = era::header(headers, &self.header)?
            .ok_or(Refusal::HeaderMismatch("a header that the tool's schema requires (x-mcp-header) is missing"))?;
        let is_number = matches!(node.value, Json::Number(_));
        if era::encodes(sent, text)? || (is_number && is_same_number(sent, text)) {
            Ok(())
        } else {
            Err(Refusal::HeaderMismatch("a header that the tool's schema requires differs from the argument"))
        }
    }
}

fn walk(schema: &Map<String, Value>, path: &mut Vec<String>, found: &mut Vec<ParamHeader>) {
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let Some(property) = property.as_object() else { continue };
        path.push(name.clone());
        if let Some(name) = property.get("x-mcp-header").and_then(Value::as_str).filter(|name| is_token(name)) {
            found.push(ParamHeader { header: format!("mcp-param-{}", name.to_ascii_lowercase()), path: path.clone() });
        }
        walk(property, path, found);
        path.pop();
    }
}

/// Whether a name may be used in a header (a token of RFC 9110, section 5.6.2).
fn is_token(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// `42.0` and `42` are the same number.
fn is_same_number(sent: &str, text: &str) -> bool {
    matches!((sent.parse::<f64>(), text.parse::<f64>()), (Ok(sent), Ok(text)) if sent == text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::{headers::Pairs, strict};

    #[test]
    fn an_argument_and_its_header_must_agree() {
        let schema = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "page": {"type": "object", "properties": {"size": {"type": "integer", "x-mcp-header": "Size"}}},
            "other": {"type": "string", "x-mcp-header": "not a name"},
        }});
        let declared = ParamHeader::declared(schema.as_object().unwrap());
        assert_eq!(declared.len(), 2);
        let check = |arguments: &str, headers: &[(&str, &str)]| {
            let node = strict::parse(arguments.as_bytes()).unwrap();
            declared.iter().all(|header| header.agrees(Some(&node), &Pairs(headers)).is_ok())
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
