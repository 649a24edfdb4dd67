//! From arguments to a request: each argument reaches the backend unchanged as data, or the call is refused.
//!
//! The method, the host, the structure of the path and the names in the query are those of the policy, and no argument can
//! change them: in a path an argument is one percent-encoded part of one segment, in a query it is a value, in a body a JSON
//! value, and in a form a value too. One that is null or absent leaves nothing behind.

mod multipart;
mod pairs;

use std::borrow::Cow;

use bytes::Bytes;
use http::{Method, Uri};
use portcullis_crds::{
    check::{BodyTemplate, PartTemplate, RequestTemplates},
    contract::HttpMethod,
    template::{JsonTemplate, Part, PathTemplate, Template},
};

use self::pairs::{Pairs, push_encoded};
use crate::{
    backend::{
        kind::Unsendable,
        text::{argument, render, scalar},
    },
    protocol::{json, strict::Node},
};

/// The request of a tool: compiled when the policy is loaded, filled in for each call.
#[derive(Clone, Debug)]
pub struct RequestTemplate {
    method: Method,
    /// Scheme, authority and base path, without a slash at its end.
    base: String,
    path: PathTemplate,
    /// The arguments in the path that may contain slashes.
    encoded_slashes: Vec<String>,
    query: Pairs,
    body: Option<Body>,
}

/// The body of a request.
#[derive(Clone, Debug)]
enum Body {
    Json(JsonTemplate),
    Form(Pairs),
    Multipart(Vec<PartTemplate>),
}

/// A request that contains nothing from the caller but data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub method: Method,
    pub uri: Uri,
    pub body: Option<Content>,
}

/// What a body contains, and its media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub media_type: Cow<'static, str>,
    pub bytes: Bytes,
}

impl RequestTemplate {
    /// `base` is the backend's URL without a slash at its end.
    pub fn new(base: &str, method: HttpMethod, templates: &RequestTemplates) -> Self {
        let RequestTemplates { path, encoded_slashes, query, body } = templates.clone();
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
            path,
            encoded_slashes,
            query: query.into(),
            body: body.map(|body| match body {
                BodyTemplate::Json(body) => Body::Json(body),
                BodyTemplate::Form(fields) => Body::Form(fields.into()),
                BodyTemplate::Multipart(parts) => Body::Multipart(parts),
            }),
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
            self.push_segment(&mut uri, segment, arguments)?;
        }
        self.query.push(&mut uri, "?", arguments)?;
        let too_long = |_| Unsendable { argument: "arguments".into(), why: "result in a URL that is too long" };
        let uri = Uri::from_maybe_shared(Bytes::from(uri)).map_err(too_long)?;
        let body = match &self.body {
            Some(body) => body.render(arguments)?,
            None => None,
        };
        Ok(Rendered { method: self.method.clone(), uri, body })
    }

    fn push_segment(&self, uri: &mut String, segment: &Template, arguments: &Node<'_>) -> Result<(), Unsendable> {
        const SLASH: [char; 2] = ['/', '\\'];
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
                    if text.contains('\0') {
                        return Err(unsendable(name, "must not contain NUL: it is a segment of a path"));
                    }
                    if text.contains(SLASH) && !self.encoded_slashes.contains(name) {
                        return Err(unsendable(name, "must not contain '/' or '\\': it is a segment of a path"));
                    }
                    push_encoded(uri, &text);
                    plain.push_str(&text);
                }
            }
        }
        let Some(name) = segment.arguments().next() else { return Ok(()) };
        // These would be structure, not data. A segment without arguments was checked with the policy.
        if plain.is_empty() {
            return Err(unsendable(name, "must not be empty: it is a segment of a path"));
        }
        // Services decode slashes before they resolve dots, and some cut parameters off (`..;x`).
        let mut names = plain.split(SLASH).map(|name| name.split(';').next().unwrap_or_default());
        if names.any(|name| name == "." || name == "..") {
            return Err(unsendable(name, "must not be '.' or '..': it is a segment of a path"));
        }
        Ok(())
    }
}

impl Body {
    /// The content; `None` if the whole body is an argument that is absent.
    fn render(&self, arguments: &Node<'_>) -> Result<Option<Content>, Unsendable> {
        let (media_type, bytes) = match self {
            Self::Json(body) if !is_present(body, arguments) => return Ok(None),
            Self::Json(body) => {
                let mut out = String::new();
                push_json(&mut out, body, arguments);
                ("application/json".into(), out.into_bytes())
            }
            Self::Form(fields) => {
                let mut out = String::new();
                fields.push(&mut out, "", arguments)?;
                ("application/x-www-form-urlencoded".into(), out.into_bytes())
            }
            Self::Multipart(parts) => {
                let (boundary, out) = multipart::render(parts, arguments)?;
                (format!("multipart/form-data; boundary={boundary}").into(), out)
            }
        };
        Ok(Some(Content { media_type, bytes: bytes.into() }))
    }
}

/// Whether a template has what it needs: what lacks an argument leaves nothing behind, neither a member nor an item.
fn is_present(template: &JsonTemplate, arguments: &Node<'_>) -> bool {
    match template {
        JsonTemplate::Argument(name) => argument(arguments, name).is_some(),
        JsonTemplate::Text(template) => template.arguments().all(|name| argument(arguments, name).is_some()),
        JsonTemplate::Value(_) | JsonTemplate::Array(_) | JsonTemplate::Object(_) => true,
    }
}

/// Appends a template as JSON. Numbers keep their form: JSON has a type for them.
fn push_json(out: &mut String, template: &JsonTemplate, arguments: &Node<'_>) {
    match template {
        JsonTemplate::Argument(name) => out.push_str(argument(arguments, name).map_or("null", |node| node.raw)),
        JsonTemplate::Text(template) => json::push_string(out, &render(template, arguments).unwrap_or_default()),
        JsonTemplate::Value(value) => json::push_value(out, value),
        JsonTemplate::Array(items) => {
            let mut array = json::array(out);
            for item in items.iter().filter(|item| is_present(item, arguments)) {
                push_json(array.item(), item, arguments);
            }
            array.close();
        }
        JsonTemplate::Object(members) => {
            let mut object = json::object(out);
            for (name, member) in members.iter().filter(|(_, member)| is_present(member, arguments)) {
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

#[cfg(test)]
mod tests;
