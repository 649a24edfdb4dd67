//! From arguments to a request: each argument reaches the backend unchanged as data, or the call is refused.
//!
//! The method, the host, the structure of the path and the names in the query are those of the policy, and no argument can
//! change them: in a path an argument is one percent-encoded part of one segment, in a query it is a value, in a body a JSON
//! value. One that is null or absent leaves nothing behind.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Uri};
use portcullis_crds::{
    check::RequestTemplates,
    contract::HttpMethod,
    template::{JsonTemplate, Part, PathTemplate, Template},
};

use crate::{
    backend::{
        kind::Unsendable,
        text::{argument, render, scalar},
    },
    protocol::{
        json,
        strict::{Json, Node},
    },
};

/// The request of a tool: compiled when the policy is loaded, filled in for each call.
#[derive(Clone, Debug)]
pub struct RequestTemplate {
    method: Method,
    /// Scheme, authority and base path, without a slash at its end.
    base: String,
    path: PathTemplate,
    /// The names are percent-encoded.
    query: Vec<(String, Template)>,
    body: Option<JsonTemplate>,
}

/// A request that contains nothing from the caller but data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub method: Method,
    pub uri: Uri,
    /// JSON.
    pub body: Option<Bytes>,
}

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

    /// Fills in the arguments of a call.
    ///
    /// # Errors
    /// Returns an error if an argument cannot be sent as data.
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
        let too_long = |_| Unsendable { argument: "arguments".into(), why: "result in a URL that is too long" };
        let uri = Uri::from_maybe_shared(Bytes::from(uri)).map_err(too_long)?;
        let body = self.body.as_ref().map(|body| {
            let mut out = String::new();
            push_json(&mut out, body, arguments);
            Bytes::from(out)
        });
        Ok(Rendered { method: self.method.clone(), uri, body })
    }
}

fn push_segment(uri: &mut String, segment: &Template, arguments: &Node<'_>) -> Result<(), Unsendable> {
    // The segment after decoding.
    let mut plain = String::new();
    for part in segment.parts() {
        match part {
            Part::Literal(literal) => {
                uri.push_str(literal);
                plain.push_str(literal);
            }
            Part::Argument(name) => {
                let text = scalar_argument(name, arguments)?;
                push_encoded(uri, &text);
                plain.push_str(&text);
            }
        }
    }
    // These would be structure, not data. A segment without arguments was checked with the policy.
    match (plain.as_str(), segment.arguments().next()) {
        ("", Some(argument)) => Err(unsendable(argument, "must not be empty: it is a segment of a path")),
        ("." | "..", Some(argument)) => Err(unsendable(argument, "must not be '.' or '..': it is a segment of a path")),
        _ => Ok(()),
    }
}

/// Appends one pair, or one for each item of a list; none if an argument is absent or null.
fn push_query(
    uri: &mut String,
    separator: &mut char,
    name: &str,
    template: &Template,
    arguments: &Node<'_>,
) -> Result<(), Unsendable> {
    if template.arguments().any(|name| argument(arguments, name).is_none()) {
        return Ok(());
    }
    let mut begin_pair = |uri: &mut String| {
        uri.push(std::mem::replace(separator, '&'));
        uri.push_str(name);
        uri.push('=');
    };
    if let Some(name) = template.as_argument()
        && let Some(items) = arguments.get(name).and_then(Node::as_array)
    {
        for item in items.iter().filter(|item| item.value != Json::Null) {
            let item = scalar(item).ok_or_else(|| unsendable(name, "must be a list of plain values"))?;
            begin_pair(uri);
            push_encoded(uri, &item);
        }
        return Ok(());
    }
    begin_pair(uri);
    for part in template.parts() {
        match part {
            Part::Literal(literal) => push_encoded(uri, literal),
            Part::Argument(name) => push_encoded(uri, &scalar_argument(name, arguments)?),
        }
    }
    Ok(())
}

/// Appends a template as JSON. What lacks an argument leaves nothing behind, neither a member nor an item. Numbers keep their form:
/// JSON has a type for them.
fn push_json(out: &mut String, template: &JsonTemplate, arguments: &Node<'_>) {
    let is_present = |template: &JsonTemplate| match template {
        JsonTemplate::Argument(name) => argument(arguments, name).is_some(),
        JsonTemplate::Text(template) => template.arguments().all(|name| argument(arguments, name).is_some()),
        JsonTemplate::Value(_) | JsonTemplate::Array(_) | JsonTemplate::Object(_) => true,
    };
    match template {
        JsonTemplate::Argument(name) => out.push_str(argument(arguments, name).map_or("null", |node| node.raw)),
        JsonTemplate::Text(template) => json::push_string(out, &render(template, arguments).unwrap_or_default()),
        JsonTemplate::Value(value) => json::push_value(out, value),
        JsonTemplate::Array(items) => {
            let mut array = json::array(out);
            for item in items.iter().filter(|item| is_present(item)) {
                push_json(array.item(), item, arguments);
            }
            array.close();
        }
        JsonTemplate::Object(members) => {
            let mut object = json::object(out);
            for (name, member) in members.iter().filter(|(_, member)| is_present(member)) {
                push_json(object.member(name), member, arguments);
            }
            object.close();
        }
    }
}

fn scalar_argument<'n>(name: &str, arguments: &'n Node<'_>) -> Result<Cow<'n, str>, Unsendable> {
    let text = arguments.get(name).and_then(scalar);
    text.ok_or_else(|| unsendable(name, "must be a string, a number or a boolean"))
}

fn unsendable(argument: &str, why: &'static str) -> Unsendable {
    Unsendable { argument: argument.to_owned(), why }
}

/// Percent-encodes all characters except the unreserved ones of RFC 3986.
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
