//! Arguments that a header must repeat (`x-mcp-header` in a tool's schema), so that intermediaries can route by them.
//!
//! Clients of 2026-07-28 send these headers by themselves. The server compares them with the body; otherwise a proxy that
//! trusts the header and a server that trusts the body could disagree (specification 2026-07-28, Streamable HTTP, Custom
//! Headers from Tool Parameters).

use http::HeaderName;
use serde_json::{Map, Value};

use super::{
    era,
    headers::RequestHeaders,
    refusal::Refusal,
    strict::{self, Json, Node},
};

const PREFIX: &str = "mcp-param-";

/// One argument that a header repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamHeader {
    header: HeaderName,
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

    /// Whether an argument and its header are the same value. Null, which is no value, has no header, and neither has an argument that
    /// is missing.
    ///
    /// # Errors
    /// Returns an error if one of them is missing, or if they differ.
    pub fn agrees(&self, arguments: Option<&Node<'_>>, headers: &dyn RequestHeaders) -> Result<(), Refusal> {
        let argument = self.path.iter().try_fold(arguments, |node, name| Some(node?.get(name))).flatten();
        let argument = argument.filter(|node| node.value != Json::Null);
        let (node, sent) = match (argument, era::header(headers, &self.header)?) {
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err(self.mismatch("repeats an argument that is missing")),
            (Some(_), None) => return Err(self.mismatch("is missing: it has to repeat an argument")),
            (Some(node), Some(sent)) => (node, sent),
        };
        let sent = era::decoded(sent)?;
        let is_same = match &node.value {
            Json::String(text) => *sent == *text.as_bytes(),
            Json::Number(digits) => *sent == *digits.as_bytes() || is_same_number(&sent, digits),
            Json::Bool(is_true) => *sent == *is_true.to_string().as_bytes(),
            // No header can repeat it.
            Json::Null | Json::Array(_) | Json::Object(_) => false,
        };
        if is_same { Ok(()) } else { Err(self.mismatch("differs from its argument")) }
    }

    fn mismatch(&self, what: &str) -> Refusal {
        let name = self.header.as_str().strip_prefix(PREFIX).unwrap_or(self.header.as_str());
        Refusal::HeaderMismatch(format!("Mcp-Param-{name} {what} (x-mcp-header in the tool's schema)").into())
    }
}

fn walk(schema: &Map<String, Value>, path: &mut Vec<String>, found: &mut Vec<ParamHeader>) {
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let Some(property) = property.as_object() else { continue };
        path.push(name.clone());
        let name = property.get("x-mcp-header").and_then(Value::as_str).filter(|name| !name.is_empty());
        if let Some(header) = name.and_then(|name| HeaderName::try_from(format!("{PREFIX}{name}")).ok()) {
            found.push(ParamHeader { header, path: path.clone() });
        }
        walk(property, path, found);
        path.pop();
    }
}

/// Whether both are numbers of JSON with the same value, such as `42.0` and `42`.
fn is_same_number(sent: &[u8], digits: &str) -> bool {
    let Ok(Node { value: Json::Number(sent), .. }) = strict::parse(sent) else { return false };
    matches!((Decimal::of(sent), Decimal::of(digits)), (Some(sent), Some(digits)) if sent == digits)
}

/// The exact value of a number: its digits, without zeros at either end, times a power of ten.
#[derive(PartialEq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// The value of a number of JSON; `None` if its exponent is beyond all use.
    fn of(number: &str) -> Option<Self> {
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{}{fraction}", whole.trim_start_matches('-'));
        let digits = all.trim_end_matches('0');
        let exponent = exponent.parse::<i64>().ok()?.checked_add((all.len() - digits.len()) as i64)?;
        let exponent = exponent.checked_sub(fraction.len() as i64)?;
        let digits = digits.trim_start_matches('0').to_owned();
        let is_zero = digits.is_empty();
        Some(Self {
            is_negative: number.starts_with('-') && !is_zero,
            digits,
            exponent: if is_zero { 0 } else { exponent },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::headers::Pairs;

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
            (r#"{"page":null}"#, &[], true),
            (r#"{"page":[{"size":1}]}"#, &[], true),
            (r#"{"region":"a","page":{"size":42}}"#, &[("mcp-param-region", "a"), ("mcp-param-size", "42.0")], true),
            (r#"{"region":"a","other":"b"}"#, &[("mcp-param-region", "a"), ("mcp-param-other", "c")], true),
            // The header alone, and the argument alone.
            ("{}", &[("mcp-param-region", "a")], false),
            ("{}", &[("mcp-param-region", "")], false),
            (r#"{"region":null}"#, &[("mcp-param-region", "null")], false),
            (r#"{"region":"a"}"#, &[], false),
            (r#"{"region":""}"#, &[], false),
            (r#"{"page":{"size":0}}"#, &[], false),
            // Twice.
            (r#"{"region":"a"}"#, &[("mcp-param-region", "a"), ("mcp-param-region", "a")], false),
            ("{}", &[("mcp-param-region", "a"), ("mcp-param-region", "a")], false),
            // What no header can repeat.
            (r#"{"region":["a"]}"#, &[("mcp-param-region", "a")], false),
            (r#"{"region":["a"]}"#, &[("mcp-param-region", r#"["a"]"#)], false),
        ] {
            assert_eq!(check(arguments, headers), agrees, "{arguments} {headers:?}");
        }
    }

    #[test]
    fn values_are_compared_as_they_are_decoded_and_numbers_by_their_exact_value() {
        let header = ParamHeader { header: HeaderName::from_static("mcp-param-v"), path: vec!["v".into()] };
        for (argument, sent, agrees) in [
            (r#""us-west1""#, "us-west1", true),
            (r#""us-west1""#, "US-west1", false),
            (r#""us-west1""#, "us-west", false),
            (r#""us-west1""#, "\"us-west1\"", false),
            (r#""us-west1""#, "=?base64?dXMtd2VzdDE=?=", true),
            (r#""\u00e9""#, "=?base64?w6k=?=", true),
            (r#""\u00e9""#, "=?base64?w6k?=", false),
            (r#""\u00e9""#, "=?base64?%?=", false),
            (r#""\u00e9""#, "=?base64?6Q==?=", false),
            (r#""\u00e9""#, "=?BASE64?w6k=?=", false),
            (r#"" padded ""#, "=?base64?IHBhZGRlZCA=?=", true),
            (r#"" padded ""#, "padded", false),
            (r#""line1\nline2""#, "=?base64?bGluZTEKbGluZTI=?=", true),
            (r#""=?base64?literal?=""#, "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", true),
            (r#""=?base64?literal?=""#, "=?base64?literal?=", false),
            (r#""=?base64?""#, "=?base64?", true),
            (r#""""#, "", true),
            (r#""""#, "=?base64??=", true),
            (r#""42""#, "42", true),
            (r#""42""#, "42.0", false),
            ("true", "true", true),
            ("true", "=?base64?dHJ1ZQ==?=", true),
            ("true", "True", false),
            ("true", "1", false),
            ("false", "false", true),
            ("false", "true", false),
            ("42", "42.0", true),
            ("42.0", "42", true),
            ("42", "4.2e1", true),
            ("42", "=?base64?NDIuMA==?=", true),
            ("42", "43", false),
            ("42", "-42", false),
            ("42", "+42", false),
            ("42", "042", false),
            ("42", "42 ", true),
            ("42", "4 2", false),
            ("42", "\"42\"", false),
            ("42", "", false),
            ("-7", "-7", true),
            ("-0", "0", true),
            ("0", "0e5", true),
            ("0.1", "1e-1", true),
            ("100", "1E+2", true),
            ("9007199254740993", "9007199254740992", false),
            ("18446744073709551617", "18446744073709551616", false),
            ("18446744073709551617", "18446744073709551617.0", true),
            ("1e308", "inf", false),
            ("1", "nan", false),
            ("0.30000000000000001", "0.3", false),
        ] {
            let arguments = format!(r#"{{"v":{argument}}}"#);
            let node = strict::parse(arguments.as_bytes()).unwrap();
            let found = header.agrees(Some(&node), &Pairs(&[("mcp-param-v", sent)])).is_ok();
            assert_eq!(found, agrees, "{argument} {sent}");
        }
    }

    #[test]
    fn a_refusal_names_the_header() {
        let header = ParamHeader { header: HeaderName::from_static("mcp-param-region"), path: vec!["region".into()] };
        let node = strict::parse(br#"{"region":"secret"}"#).unwrap();
        let refused = header.agrees(Some(&node), &Pairs(&[("mcp-param-region", "other")])).unwrap_err();
        assert_eq!(refused.code(), -32020);
        let expected =
            "Header mismatch: Mcp-Param-region differs from its argument (x-mcp-header in the tool's schema)";
        assert_eq!(refused.message(), expected);
    }
}
