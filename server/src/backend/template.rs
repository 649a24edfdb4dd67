//! Arguments to a request: each reaches the backend unchanged as data, or the call is refused.
//!
//! The method, the host, the structure of the path and the names in the query are the policy's, and nothing here lets an
//! argument move them: in a path an argument is one percent-encoded piece of one segment, in a query it is a value, in a body a
//! JSON value. Numbers keep the digits that they were written with.

use std::fmt::Write;

use bytes::Bytes;
use http::{Method, Uri};
use portcullis_crds::{
    check::RequestTemplates,
    contract::HttpMethod,
    template::{JsonTemplate, Part, PathTemplate, Template},
};

use crate::protocol::{
    json::push_string,
    strict::{Json, Node},
};

/// How a tool's backend is asked: parsed once, filled in for each call.
#[derive(Clone, Debug)]
pub struct RequestTemplate {
    method: Method,
    /// Scheme, authority and base path, without a slash at its end.
    base: String,
    path: PathTemplate,
    /// Names are percent-encoded here.
    query: Vec<(String, Template)>,
    body: Option<JsonTemplate>,
}

/// A request with nothing of the caller's in it but data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub method: Method,
    pub uri: Uri,
    /// JSON.
    pub body: Option<Bytes>,
}

/// Arguments that cannot be sent as data. `argument` is the policy's name for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsendable {
    pub argument: String,
    pub why: &'static str,
}

const NO_SCALAR: &str = "must be a string, a number or a boolean";

impl RequestTemplate {
    /// `base` is the backend's URL without a slash at its end.
    pub fn new(base: &str, method: HttpMethod, templates: &RequestTemplates) -> Self {
        let query = templates.query.iter().map(|(name, template)| {
            let mut encoded = String::new();
            push_encoded(&mut encoded, name);
            (encoded, template.clone())
        });
        Self {
            method: match method {
                HttpMethod::Get => Method::GET,
                HttpMethod::Head => Method::HEAD,
                HttpMethod::Post => Method::POST,
                HttpMethod::Put => Method::PUT,
                HttpMethod::Patch => Method::PATCH,
                HttpMethod::Delete => Method::DELETE,
            },
            base: base.to_owned(),
            path: templates.path.clone(),
            query: query.collect(),
            body: templates.body.clone(),
        }
    }

    /// # Errors
    /// Where an argument has no place in the request as plain data.
    pub fn render(&self, arguments: &Node<'_>) -> Result<Rendered, Unsendable> {
        let mut uri = String::with_capacity(self.base.len() + 64);
        uri.push_str(&self.base);
        for segment in self.path.segments() {
            uri.push('/');
            push_segment(&mut uri, segment, arguments)?;
        }
        let mut separator = '?';
        for (name, template) in &self.query {
            push_query(&mut uri, &mut separator, name, template, arguments)?;
        }
        let too_long = |_| Unsendable { argument: "arguments".into(), why: "make a URL that is too long" };
        let uri = Uri::from_maybe_shared(Bytes::from(uri)).map_err(too_long)?;
        let body = self.body.as_ref().map(|body| {
            let mut out = String::new();
            push_json(&mut out, body, arguments);
            Bytes::from(out)
        });
        Ok(Rendered { method: self.method.clone(), uri, body })
    }
}

/// A template as text, for an answer that carries its own. Absent arguments leave nothing behind.
pub fn render_text(template: &Template, arguments: &Node<'_>) -> String {
    let mut out = String::new();
    for part in template.parts() {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Argument(name) => {
                if let Some(node) = arguments.get(name) {
                    out.push_str(node.as_str().unwrap_or(node.raw));
                }
            }
        }
    }
    out
}

fn push_segment(uri: &mut String, segment: &Template, arguments: &Node<'_>) -> Result<(), Unsendable> {
    let Some(argument) = segment.arguments().next() else {
        for part in segment.parts() {
            if let Part::Literal(literal) = part {
                uri.push_str(literal);
            }
        }
        return Ok(());
    };
    // What the segment says once decoded: `.`, `..` and nothing at all would be structure, not data.
    let mut plain = String::new();
    for part in segment.parts() {
        match part {
            Part::Literal(literal) => {
                uri.push_str(literal);
                plain.push_str(literal);
            }
            Part::Argument(name) => {
                let text = arguments.get(name).and_then(scalar).ok_or_else(|| unsendable(name, NO_SCALAR))?;
                push_encoded(uri, text);
                plain.push_str(text);
            }
        }
    }
    match plain.as_str() {
        "" => Err(unsendable(argument, "must not be empty: it is a segment of a path")),
        "." | ".." => Err(unsendable(argument, "must not be '.' or '..': it is a segment of a path")),
        _ => Ok(()),
    }
}

/// One pair, or one for each item of a list; none where an argument is absent or null.
fn push_query(
    uri: &mut String,
    separator: &mut char,
    name: &str,
    template: &Template,
    arguments: &Node<'_>,
) -> Result<(), Unsendable> {
    let is_absent = |name: &str| arguments.get(name).is_none_or(|node| node.value == Json::Null);
    if template.arguments().any(is_absent) {
        return Ok(());
    }
    let mut pair = |texts: &mut dyn FnMut(&mut String) -> Result<(), Unsendable>| {
        uri.push(std::mem::replace(separator, '&'));
        uri.push_str(name);
        uri.push('=');
        texts(uri)
    };
    if let Some(argument) = template.as_argument()
        && let Some(items) = arguments.get(argument).and_then(Node::as_array)
    {
        for item in items {
            let text = scalar(item).ok_or_else(|| unsendable(argument, "must be a list of plain values"))?;
            pair(&mut |uri| {
                push_encoded(uri, text);
                Ok(())
            })?;
        }
        return Ok(());
    }
    pair(&mut |uri| {
        for part in template.parts() {
            match part {
                Part::Literal(literal) => push_encoded(uri, literal),
                Part::Argument(name) => {
                    let text = arguments.get(name).and_then(scalar).ok_or_else(|| unsendable(name, NO_SCALAR))?;
                    push_encoded(uri, text);
                }
            }
        }
        Ok(())
    })
}

/// The template as JSON; `false`, and nothing written, where it is an argument that is absent.
fn push_json(out: &mut String, template: &JsonTemplate, arguments: &Node<'_>) -> bool {
    match template {
        JsonTemplate::Argument(name) => match arguments.get(name) {
            Some(node) => out.push_str(node.raw),
            None => return false,
        },
        JsonTemplate::Text(template) => push_string(out, &render_text(template, arguments)),
        // A string's `write!` cannot fail.
        JsonTemplate::Value(value) => _ = write!(out, "{value}"),
        JsonTemplate::Array(items) => {
            out.push('[');
            for item in items {
                push_member(out, '[', "", item, arguments);
            }
            out.push(']');
        }
        JsonTemplate::Object(members) => {
            out.push('{');
            for (name, member) in members {
                push_member(out, '{', name, member, arguments);
            }
            out.push('}');
        }
    }
    true
}

fn push_member(out: &mut String, opening: char, name: &str, template: &JsonTemplate, arguments: &Node<'_>) {
    let before = out.len();
    if !out.ends_with(opening) {
        out.push(',');
    }
    if opening == '{' {
        push_string(out, name);
        out.push(':');
    }
    if !push_json(out, template, arguments) {
        out.truncate(before);
    }
}

fn scalar<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    match &node.value {
        Json::String(text) => Some(text),
        Json::Number(digits) => Some(digits),
        Json::Bool(true) => Some("true"),
        Json::Bool(false) => Some("false"),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn unsendable(argument: &str, why: &'static str) -> Unsendable {
    Unsendable { argument: argument.to_owned(), why }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn push_encoded(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 0xf)]));
        }
    }
}

#[cfg(test)]
mod tests;
