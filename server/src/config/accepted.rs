//! What the check of a server accepts, this server loads, and makes valid requests of.

use http::Request;
use portcullis_crds::{
    check::{CheckedBackend, CheckedToolKind, server_half},
    contract::{Policy, ServerHalf, ToolKind},
};
use proptest::{prelude::*, sample};
use serde_json::json;

use super::{PolicyDocument, Tools, fixtures::factory};
use crate::{backend::RequestTemplate, metrics::Metrics, protocol::strict};

const PIECES: [&str; 48] = [
    "",
    "a",
    "a",
    "b",
    "/",
    "/",
    "/",
    ".",
    "..",
    "//",
    ":",
    ":80",
    ":0",
    ":65536",
    ":+8",
    ":080",
    ":a",
    "@",
    "?",
    "#",
    "&",
    "=",
    "%",
    "%20",
    "%zz",
    "%00",
    "{a}",
    "{a}",
    "{",
    "}",
    "{{",
    "}}",
    "[::1]",
    "[",
    "]",
    "[fe80::1%25eth0]",
    "[v1.x]",
    "127.0.0.1",
    " ",
    "\t",
    "\n",
    "\u{0}",
    "ü",
    "🔍",
    "\\",
    "\"",
    "^|<>`",
    "xn--nxasmq6b",
];

/// Pieces that mean something in a URL, in any order.
fn odd(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(sample::select(&PIECES[..]), 0..=most).prop_map(|pieces| pieces.concat())
}

fn url() -> impl Strategy<Value = String> {
    let scheme = sample::select(vec!["http://", "https://", "HTTP://", "ftp://", ""]);
    let host =
        prop_oneof![sample::select(vec!["a.example", "a", "[::1]:8080", "A.b:80"]).prop_map(str::to_owned), odd(3)];
    (scheme, host, prop_oneof![Just(String::new()), odd(3)])
        .prop_map(|(scheme, host, path)| format!("{scheme}{host}{path}"))
}

fn path() -> impl Strategy<Value = String> {
    odd(4).prop_map(|text| format!("/{text}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn whatever_the_check_accepts_is_loaded_and_makes_requests(
        (url, health, path) in (url(), prop::option::of(path()), path()),
        (name, value, body, pointer) in (odd(2), odd(3), odd(3), odd(3)),
        plain in any::<bool>(),
    ) {
        let (health, path) = if plain { (None, "/x".to_owned()) } else { (health, path) };
        let server = serde_json::from_value(json!({"namespace": "n", "name": "s"})).unwrap();
        let spec = serde_json::from_value(json!({
            "backends": [{"name": "api", "http": {"url": url, "healthPath": health}}],
            "tools": [{
                "name": "t", "description": "t", "backend": "api", "records": {"path": pointer},
                "http": {"method": "POST", "path": path, "query": {&name: value}, "body": {&name: body}},
                "inputSchema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
            }],
        }));
        let Ok(spec) = spec else { return Ok(()) };
        let half = ServerHalf { server, spec };
        let Ok(checked) = server_half(half) else { return Ok(()) };

        let policy = Policy::new(checked.half().clone(), Vec::new());
        let (document, findings) = PolicyDocument::parse(policy.text()).unwrap();
        prop_assert_eq!(findings.0, vec![]);
        let loaded = document.server.unwrap();
        prop_assert_eq!((loaded.left_out, loaded.notes.0), (vec![], vec![]));
        let loaded = loaded.half;
        prop_assert_eq!(loaded.half(), checked.half());
        let tools = Tools::new(&loaded, None, &factory(), &Metrics::default());
        prop_assert_eq!((tools.by_name.len(), tools.backends.len()), (1, 1));

        let (_, CheckedBackend::Http(target, _)) = loaded.backends().next().unwrap() else { panic!("it is of kind http") };
        let (_, authority) = target.base.split_once("://").unwrap();
        let authority = authority.split('/').next().unwrap();
        let is_of_target = |uri: &http::Uri| {
            uri.authority().map(http::uri::Authority::as_str) == Some(authority)
                && uri.host().is_some_and(|host| !host.is_empty() && authority.starts_with(host))
                // Otherwise the default port would be dialed.
                && uri.port_u16().is_some() == authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
        };
        for uri in [Some(&target.origin), target.health.as_ref()].into_iter().flatten() {
            prop_assert!(is_of_target(uri), "{}", uri);
            prop_assert!(Request::get(uri.clone()).body(()).is_ok());
        }
        let (tool, compiled) = loaded.tools().next().unwrap();
        let (ToolKind::Http(http), CheckedToolKind::Http(templates)) = (&tool.kind, &compiled.kind) else { panic!("it is http") };
        for argument in [r#"{"a":"x"}"#, r#"{"a":"ü ?#%🔍\n\u0001"}"#] {
            let request = RequestTemplate::new(&target.base, http.method, templates);
            let rendered = request.render(&strict::parse(argument.as_bytes()).unwrap());
            let rendered = rendered.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
            prop_assert!(is_of_target(&rendered.uri), "{}", rendered.uri);
            prop_assert!(Request::post(rendered.uri).body(()).is_ok());
        }
    }
}

/// Pieces that mean something in YAML, in any order.
fn unit() -> impl Strategy<Value = String> {
    let pieces = sample::select(
        &[
            "[",
            "[",
            "{",
            "]",
            "}",
            "-",
            "- ",
            ": ",
            ":",
            "?",
            ",",
            "'",
            "\"",
            "\\",
            "#",
            " #",
            "&",
            "*",
            "!",
            "|",
            ">",
            "%",
            "@",
            "`",
            " ",
            "\t",
            "\n",
            "\r",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{1b}[32m",
            "\u{7f}",
            "---\n",
            "...\n",
            "a",
            "0",
            "~",
            "<<",
            "ü",
            "🔍",
        ][..],
    );
    prop::collection::vec(pieces, 1..6).prop_map(|pieces| pieces.concat())
}

/// As many of these as a text may have.
fn large(unit: &str) -> String {
    unit.repeat(65_000 / (json!(unit).to_string().len() - 2))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_large_texts_the_check_accepts_are_loaded(
        (text, schema, other) in (unit(), unit(), unit()),
        tools in 1..8_usize,
    ) {
        let server = serde_json::from_value(json!({"namespace": "n", "name": "s"})).unwrap();
        let tool = |n: usize| json!({
            "name": format!("t{n}"), "description": "t", "backend": "b",
            "static": {"text": large(&text.replace('{', "{{").replace('}', "}}")), "structuredContent": {"a": large(&other)}},
            "inputSchema": {"type": "object", "properties": {"a": {"description": large(&schema)}}},
        });
        let tools: Vec<_> = (0..tools).map(tool).collect();
        let spec = serde_json::from_value(json!({"backends": [{"name": "b", "static": {}}], "tools": tools})).unwrap();
        let checked = server_half(ServerHalf { server, spec });
        prop_assert!(checked.is_ok(), "{:?}", checked.err());
        let checked = checked.unwrap();
        let policy = Policy::new(checked.half().clone(), Vec::new());
        let read = PolicyDocument::parse(policy.text());
        prop_assert!(read.is_ok(), "{:?}", read.map(drop));
        let (document, findings) = read.unwrap();
        prop_assert_eq!(findings.0, vec![]);
        prop_assert!(document.server.unwrap().half.half() == checked.half());
    }
}
