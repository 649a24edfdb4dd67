//! The request of an `http` tool: its templates parse, and each argument in them can be put in its place.

use super::{arguments::Declared, listed, tool::text_template};
use crate::{
    Findings,
    contract::{FormPart, HttpTool, PartEncoding, Style},
    nearest::suggestion,
    template::{JsonTemplate, PathTemplate, Template},
};

/// The parts of a request that contain arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestTemplates {
    pub path: PathTemplate,
    /// The arguments in the path that may contain slashes.
    pub encoded_slashes: Vec<String>,
    /// Sorted by name.
    pub query: Vec<Pair>,
    pub body: Option<BodyTemplate>,
}

/// A parameter of a query or a field of a form.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub name: String,
    pub value: Template,
    /// If it is not [`Style::Repeat`], the value is a single argument.
    pub style: Style,
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyTemplate {
    Json(JsonTemplate),
    /// Sorted by name.
    Form(Vec<Pair>),
    Multipart(Vec<PartTemplate>),
}

/// A part of a multipart body.
#[derive(Clone, Debug, PartialEq)]
pub struct PartTemplate {
    pub name: String,
    pub value: Template,
    /// Whether the value is a single argument whose bytes, in base64, are the part.
    pub is_base64: bool,
    pub filename: Option<Template>,
    pub content_type: Option<String>,
}

/// Checks a request. `None` if it could not be made as it is meant.
pub(super) fn check(
    http: &HttpTool,
    arguments: Declared<'_>,
    at: &str,
    findings: &mut Findings,
) -> Option<RequestTemplates> {
    let path = path(http, arguments, at, findings);
    let query = pairs(&http.query, http, arguments, &format!("{at}.query"), findings);
    let body = body(http, arguments, at, findings);
    styles(http, at, findings);
    Some(RequestTemplates { path: path?, encoded_slashes: http.encoded_slashes.clone(), query: query?, body: body? })
}

fn path(http: &HttpTool, arguments: Declared<'_>, at: &str, findings: &mut Findings) -> Option<PathTemplate> {
    let path = PathTemplate::parse(&http.path).map_err(|error| findings.add(format!("{at}.path"), error.to_string()));
    let names: Vec<&str> = path.iter().flat_map(PathTemplate::arguments).collect();
    for name in &names {
        if arguments.get(name).is_none() {
            findings.add(format!("{at}.path"), arguments.undeclared(name));
        } else if !arguments.is_required(name) {
            let message =
                format!("`{name}` must be listed in inputSchema's `required`: a path segment cannot be omitted");
            findings.add(format!("{at}.path"), message);
        }
    }
    for (n, name) in http.encoded_slashes.iter().enumerate() {
        if path.is_ok() && !names.contains(&name.as_str()) {
            let known = listed(names.iter().copied());
            let suggestion = suggestion(name, names.iter().copied());
            let message = format!("`{name}` is not an argument in the path{suggestion}; its arguments: {known}");
            findings.add(format!("{at}.encodedSlashes[{n}]"), message);
        }
    }
    path.ok()
}

fn pairs<'a>(
    pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
    http: &HttpTool,
    arguments: Declared<'_>,
    at: &str,
    findings: &mut Findings,
) -> Option<Vec<Pair>> {
    let checked = pairs.into_iter().map(|(name, text)| {
        let at = format!("{at}.{name}");
        let value = text_template(text, arguments, &at, findings)?;
        let style = http.styles.get(name).copied().unwrap_or_default();
        if style != Style::Repeat && value.as_argument().is_none() {
            findings.add(at, "must be a single argument such as {name}, because `styles` says how it is written");
            return None;
        }
        Some(Pair { name: name.clone(), value, style })
    });
    // All of them are checked, whatever is found.
    checked.collect::<Vec<_>>().into_iter().collect()
}

/// Each style must be that of something.
fn styles(http: &HttpTool, at: &str, findings: &mut Findings) {
    let is_field = |name: &String| http.form.as_ref().is_some_and(|form| form.contains_key(name));
    for name in http.styles.keys().filter(|name| !http.query.contains_key(*name) && !is_field(name)) {
        let known = http.query.keys().chain(http.form.iter().flat_map(|form| form.keys())).map(String::as_str);
        let suggestion = suggestion(name, known);
        let message = format!("is not the name of a parameter of the query or a field of the form{suggestion}");
        findings.add(format!("{at}.styles.{name}"), message);
    }
}

/// The body, if there is one; `None` if it could not be made.
fn body(http: &HttpTool, arguments: Declared<'_>, at: &str, findings: &mut Findings) -> Option<Option<BodyTemplate>> {
    let fields =
        [("body", http.body.is_some()), ("form", http.form.is_some()), ("multipart", http.multipart.is_some())];
    let mut set = fields.into_iter().filter(|(_, is_set)| *is_set).map(|(field, _)| field);
    let Some(field) = set.next() else { return Some(None) };
    if set.next().is_some() {
        findings.add(at, "at most one of body, form and multipart may be set");
        return None;
    }
    let at = format!("{at}.{field}");
    if http.method.is_read() {
        findings.add(&at, format!("{} has no body", http.method.as_str()));
        return None;
    }
    let HttpTool { body, form, multipart, .. } = http;
    let checked = if let Some(body) = body {
        let body = JsonTemplate::parse(&body.0).map_err(|error| findings.add(&at, error.to_string())).ok()?;
        arguments.check(body.arguments(), &at, findings);
        BodyTemplate::Json(body)
    } else if let Some(form) = form {
        BodyTemplate::Form(pairs(form, http, arguments, &at, findings)?)
    } else {
        let parts = multipart.iter().flatten().enumerate();
        let parts = parts.map(|(n, part)| self::part(part, arguments, &format!("{at}[{n}]"), findings));
        BodyTemplate::Multipart(parts.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?)
    };
    Some(Some(checked))
}

fn part(part: &FormPart, arguments: Declared<'_>, at: &str, findings: &mut Findings) -> Option<PartTemplate> {
    let value = text_template(&part.value, arguments, &format!("{at}.value"), findings);
    let filename = part.filename.as_ref();
    let filename = filename.map(|text| text_template(text, arguments, &format!("{at}.filename"), findings));
    let content_type = part.content_type.as_deref();
    if content_type.is_some_and(|text| text.chars().any(char::is_control) || !text.contains('/')) {
        findings.add(format!("{at}.contentType"), "must be a media type such as text/csv");
        return None;
    }
    let filename = match filename {
        Some(filename) => Some(filename?),
        None => None,
    };
    let is_base64 = part.encoding == PartEncoding::Base64;
    let value = value?;
    if is_base64 && value.as_argument().is_none() {
        findings.add(format!("{at}.value"), "must be a single argument such as {file}, because `encoding` is Base64");
        return None;
    }
    Some(PartTemplate { name: part.name.clone(), value, is_base64, filename, content_type: part.content_type.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn findings(http: Value) -> Vec<String> {
        let schema = json!({"required": ["id"], "properties": {"id": {}, "tags": {}, "item": {}}});
        let mut findings = Findings::default();
        let http: HttpTool = serde_json::from_value(http).unwrap();
        let _ = check(&http, Declared(schema.as_object().unwrap()), "http", &mut findings);
        findings.0.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
    }

    #[test]
    fn a_request_has_one_body_and_each_setting_concerns_something() {
        for (http, expected) in [
            (json!({"method": "PUT", "path": "/a/{id}", "encodedSlashes": ["id"], "body": "{item}"}), None),
            (json!({"method": "POST", "path": "/a", "body": [{"id": "{id}"}, "{item}"]}), None),
            (
                json!({"method": "POST", "path": "/a", "query": {"t": "{tags}"}, "styles": {"t": "Comma", "f": "DeepObject"},
                    "form": {"f": "{item}", "g": "x {id}"}}),
                None,
            ),
            (
                json!({"method": "POST", "path": "/a", "multipart": [
                    {"name": "file", "value": "{item}", "filename": "{id}.csv", "contentType": "text/csv"}]}),
                None,
            ),
            (
                json!({"method": "POST", "path": "/a", "multipart": [{"name": "f", "value": "{id}", "encoding": "Base64"}]}),
                None,
            ),
            (
                json!({"method": "POST", "path": "/a", "multipart": [{"name": "f", "value": "x{id}", "encoding": "Base64"}]}),
                Some("http.multipart[0].value: must be a single argument such as {file}, because `encoding` is Base64"),
            ),
            (
                json!({"method": "POST", "path": "/a", "body": "{item}", "form": {}}),
                Some("http: at most one of body, form and multipart may be set"),
            ),
            (json!({"method": "GET", "path": "/a", "form": {"a": "{id}"}}), Some("http.form: GET has no body")),
            (json!({"method": "GET", "path": "/a", "body": "{item}"}), Some("http.body: GET has no body")),
            (
                json!({"method": "GET", "path": "/a", "query": {"t": "x{tags}"}, "styles": {"t": "Comma"}}),
                Some("http.query.t: must be a single argument such as {name}, because `styles` says how it is written"),
            ),
            (
                json!({"method": "GET", "path": "/a", "styles": {"t": "Comma"}}),
                Some("http.styles.t: is not the name of a parameter of the query or a field of the form"),
            ),
            (
                json!({"method": "POST", "path": "/a", "multipart": [{"name": "a", "value": "x", "contentType": "a/b\r\nX: y"}]}),
                Some("http.multipart[0].contentType: must be a media type such as text/csv"),
            ),
        ] {
            assert_eq!(findings(http.clone()), expected.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{http}");
        }
        let found = findings(json!({"method": "GET", "path": "/a/{id}", "encodedSlashes": ["tags"]}));
        assert_eq!(found, ["http.encodedSlashes[0]: `tags` is not an argument in the path; its arguments: id"]);
    }
}
