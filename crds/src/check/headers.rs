//! What a backend is told beside the request of a tool: headers whose names and values HTTP admits, and that nothing else sets.

use std::{collections::BTreeSet, sync::Arc};

use http::{HeaderName, HeaderValue, Uri, header::AUTHORIZATION};

use super::url;
use crate::{
    Findings, SecretKeyRef,
    contract::{Backend, BackendCredentials, BackendKind, ClientCredentials, HeaderValue as Value, IdentityValue},
};

/// The headers of each call to a backend, with its credential. No name appears twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingHeaders(Arc<[OutgoingHeader]>);

/// A header of each call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingHeader {
    pub name: HeaderName,
    pub value: OutgoingValue,
}

/// The value of a header, or where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutgoingValue {
    Literal(HeaderValue),
    Secret(SecretKeyRef),
    /// The same with `Bearer ` before it.
    Bearer(SecretKeyRef),
    /// A token of OAuth 2.0, with `Bearer ` before it.
    Token(TokenRequest),
    /// The id of the caller's client.
    ClientId,
}

/// How to ask for a token (RFC 6749 section 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    pub url: Uri,
    pub client_id: String,
    pub secret: SecretKeyRef,
    pub audience: Option<String>,
    pub scopes: Vec<String>,
}

/// What the server sets itself, what belongs to a connection and not to a request (RFC 9110 section 7.6.1), and what says who sent a
/// request from where.
const SET_ELSEWHERE: [&str; 20] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
];
const SET_ELSEWHERE_BEGINS: [&str; 4] = ["mcp-", "proxy-", "x-forwarded-", "x-portcullis-"];

impl OutgoingHeaders {
    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &OutgoingHeader> {
        self.0.iter()
    }
}

/// Checks the headers and the credential of a backend; `None` if there is a finding: a call without one of them is never meant.
pub(super) fn outgoing(backend: &Backend, at: &str, findings: &mut Findings) -> Option<OutgoingHeaders> {
    let found_before = findings.0.len();
    if matches!(backend.kind, BackendKind::Static) {
        for (field, is_set) in
            [("headers", !backend.headers.is_empty()), ("credentials", backend.credentials.is_some())]
        {
            if is_set {
                findings.add(format!("{at}.{field}"), "a backend of kind static sends no request; remove the field");
            }
        }
    }
    let (mut headers, mut names) = (Vec::new(), BTreeSet::new());
    for (n, header) in backend.headers.iter().enumerate() {
        let at = format!("{at}.headers[{n}]");
        let value = match &header.value {
            Value::Literal(text) => {
                let is_visible = text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'));
                let Some(value) = HeaderValue::from_str(text).ok().filter(|_| is_visible) else {
                    let message = "may have visible characters of ASCII, spaces and tabs only: no line break";
                    findings.add(format!("{at}.value"), message);
                    continue;
                };
                OutgoingValue::Literal(value)
            }
            Value::Secret(secret) => OutgoingValue::Secret(secret.clone()),
            Value::Identity(IdentityValue::ClientId) => OutgoingValue::ClientId,
        };
        if let Some(name) = name(header.name.as_str(), &format!("{at}.name"), findings) {
            if !names.insert(name.as_str().to_owned()) {
                findings
                    .add(format!("{at}.name"), format!("`{}` appears twice; case makes no difference", header.name));
            }
            headers.push(OutgoingHeader { name, value });
        }
    }
    let credential = match &backend.credentials {
        None => None,
        Some(BackendCredentials::Bearer(secret)) => Some((AUTHORIZATION, OutgoingValue::Bearer(secret.clone()))),
        Some(BackendCredentials::ClientCredentials(client)) => {
            token_request(client, &format!("{at}.credentials.clientCredentials"), findings)
                .map(|request| (AUTHORIZATION, OutgoingValue::Token(request)))
        }
        Some(BackendCredentials::Header(header, secret)) => {
            name(header.as_str(), &format!("{at}.credentials.headerSecretRef.header"), findings)
                .map(|name| (name, OutgoingValue::Secret(secret.clone())))
        }
    };
    if let Some((name, value)) = credential {
        if names.contains(name.as_str()) || names.contains(AUTHORIZATION.as_str()) {
            let message = "a header of the same name, or `Authorization`, is among the headers too; remove one of them";
            findings.add(format!("{at}.credentials"), message);
        }
        headers.push(OutgoingHeader { name, value });
    }
    headers.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    (findings.0.len() == found_before).then(|| OutgoingHeaders(headers.into()))
}

fn token_request(client: &ClientCredentials, at: &str, findings: &mut Findings) -> Option<TokenRequest> {
    let ClientCredentials { token_url, client_id, client_secret_ref, audience, scopes } = client;
    for (n, scope) in scopes.iter().enumerate() {
        // RFC 6749 section 3.3.
        if !scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
            findings.add(
                format!("{at}.scopes[{n}]"),
                "must have visible characters of ASCII only, without quotes and backslashes",
            );
        }
    }
    let texts = [("clientId", Some(client_id)), ("audience", audience.as_ref())];
    for (field, text) in texts.into_iter().filter_map(|(field, text)| Some((field, text?))) {
        if !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
            findings.add(format!("{at}.{field}"), "must have visible characters of ASCII and spaces only");
        }
    }
    match url::token_endpoint(token_url) {
        Ok(url) => Some(TokenRequest {
            url,
            client_id: client_id.clone(),
            secret: client_secret_ref.clone(),
            audience: audience.clone(),
            scopes: scopes.clone(),
        }),
        Err(message) => {
            findings.add(format!("{at}.tokenUrl"), message);
            None
        }
    }
}

fn name(text: &str, at: &str, findings: &mut Findings) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok()?;
    let lower = name.as_str();
    if SET_ELSEWHERE.contains(&lower) || SET_ELSEWHERE_BEGINS.iter().any(|it| lower.starts_with(it)) {
        findings.add(at, format!("`{text}` is set by the server itself, by HTTP or by MCP; choose another name"));
        return None;
    }
    // A backend, or what is before it, may take one for the other.
    if lower.contains('_') && SET_ELSEWHERE.contains(&lower.replace('_', "-").as_str()) {
        findings.add(
            at,
            format!("`{text}` is taken by some programs for a header that the server sets; choose another name"),
        );
        return None;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(fields: Value) -> Result<OutgoingHeaders, Vec<String>> {
        let mut backend = json!({"name": "api", "http": {"url": "http://a"}});
        backend.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        if fields.get("static").is_some() {
            backend.as_object_mut().unwrap().remove("http");
        }
        let mut findings = Findings::default();
        let outgoing = outgoing(&serde_json::from_value(backend).unwrap(), "b", &mut findings);
        outgoing.ok_or_else(|| findings.0.iter().map(|finding| finding.path.clone()).collect())
    }

    #[test]
    fn headers_and_the_credential_are_one_list_in_the_order_of_their_names() {
        let secret = |name: &str| SecretKeyRef { name: name.parse().unwrap(), key: "token".parse().unwrap() };
        let key = json!({"name": "b", "key": "token"});
        let header = |name: &'static str, value| OutgoingHeader { name: HeaderName::from_static(name), value };
        let expected = [
            header("authorization", OutgoingValue::Bearer(secret("a"))),
            header("x-client", OutgoingValue::ClientId),
            header("x-key", OutgoingValue::Secret(secret("b"))),
            header("x-version", OutgoingValue::Literal(HeaderValue::from_static("2"))),
        ];
        let fields = json!({
            "headers": [{"name": "X-Version", "value": "2"}, {"name": "X-Key", "secretKeyRef": key},
                {"name": "x-client", "identity": "ClientId"}],
            "credentials": {"bearerSecretRef": {"name": "a", "key": "token"}},
        });
        assert_eq!(checked(fields), Ok(OutgoingHeaders(expected.into())));
    }

    #[test]
    fn what_a_token_is_asked_for_with_can_be_sent() {
        let client = |change: Value| {
            let mut client = json!({"tokenUrl": "https://id/token", "clientId": "crm", "scopes": ["crm.read"],
                "clientSecretRef": {"name": "a", "key": "k"}});
            client.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            checked(json!({"credentials": {"clientCredentials": client}}))
        };
        assert!(client(json!({})).is_ok());
        for (change, field) in [
            (json!({"tokenUrl": "ftp://id/token"}), "tokenUrl"),
            (json!({"tokenUrl": "https://user@id/token"}), "tokenUrl"),
            (json!({"tokenUrl": "https://id/token?a=b"}), "tokenUrl"),
            (json!({"tokenUrl": "https://id/{tenant}"}), "tokenUrl"),
            (json!({"clientId": "crm\n"}), "clientId"),
            (json!({"audience": "ü"}), "audience"),
            (json!({"scopes": ["a b"]}), "scopes[0]"),
        ] {
            assert_eq!(client(change), Err(vec![format!("b.credentials.clientCredentials.{field}")]));
        }
    }

    #[test]
    fn a_header_that_is_set_elsewhere_or_twice_or_that_http_does_not_admit_is_refused() {
        let key = json!({"name": "a", "key": "token"});
        let literal = |name: &str| json!({"headers": [{"name": name, "value": "x"}]});
        for name in [
            "Host",
            "Content-Length",
            "CONNECTION",
            "Forwarded",
            "X-Forwarded-For",
            "Mcp-Session-Id",
            "traceparent",
            "Content_Length",
            "Proxy-Authorization",
            "TE",
            "X-Portcullis-Client-Id",
        ] {
            assert_eq!(checked(literal(name)), Err(vec!["b.headers[0].name".into()]), "{name}");
            let credentials = json!({"credentials": {"headerSecretRef": {"header": name, "name": "a", "key": "k"}}});
            assert_eq!(checked(credentials), Err(vec!["b.credentials.headerSecretRef.header".into()]), "{name}");
        }
        for value in ["a\r\nX-Admin: 1", "a\0", "a\n", "ü"] {
            let fields = json!({"headers": [{"name": "X-A", "value": value}]});
            assert_eq!(checked(fields), Err(vec!["b.headers[0].value".into()]), "{value:?}");
        }
        let header = |name: &str| json!({"name": name, "secretKeyRef": key});
        for (fields, expected) in [
            (json!({"headers": [header("X-A"), header("x-a")]}), "b.headers[1].name"),
            (json!({"headers": [header("authorization")], "credentials": {"bearerSecretRef": key}}), "b.credentials"),
            (
                json!({"headers": [{"name": "Authorization", "value": "x"}],
                    "credentials": {"headerSecretRef": {"header": "X-A", "name": "a", "key": "k"}}}),
                "b.credentials",
            ),
            (
                json!({"headers": [header("x-a")],
                    "credentials": {"headerSecretRef": {"header": "X-A", "name": "a", "key": "k"}}}),
                "b.credentials",
            ),
            (json!({"static": {}, "headers": [header("x-a")]}), "b.headers"),
            (json!({"static": {}, "credentials": {"bearerSecretRef": key}}), "b.credentials"),
        ] {
            assert_eq!(checked(fields.clone()), Err(vec![expected.into()]), "{fields}");
        }
    }
}
