use portcullis_crds::{contract::HttpTool, template::PathTemplate};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::protocol::strict;

fn template(tool: Value) -> RequestTemplate {
    let tool: HttpTool = serde_json::from_value(tool).unwrap();
    let templates = RequestTemplates {
        path: PathTemplate::parse(&tool.path).unwrap(),
        query: tool.query.iter().map(|(name, text)| (name.clone(), Template::parse(text).unwrap())).collect(),
        body: tool.body.map(|body| JsonTemplate::parse(&Value::Object(body.0)).unwrap()),
    };
    RequestTemplate::new("http://b.example:8080/v1", tool.method, &templates)
}

fn render(template: &RequestTemplate, arguments: &str) -> Result<(String, Option<String>), Unsendable> {
    let rendered = template.render(&strict::parse(arguments.as_bytes()).unwrap())?;
    Ok((rendered.uri.to_string(), rendered.body.map(|body| String::from_utf8(body.to_vec()).unwrap())))
}

#[test]
fn arguments_fill_their_places() {
    let template = template(json!({
        "method": "POST", "path": "/contacts/{id}/notes",
        "query": {"a b": "{q}", "tag": "{tags}", "both": "{q}-{n}"},
        "body": {"text": "{text}", "n": "{n}", "by": "agent {who}", "list": ["{x}", "{n}"], "fixed": {"a": 1}},
    }));
    assert_eq!(
        render(&template, r#"{"id":"a/b","q":"x y&z=1","tags":["r","s"],"n":1.50,"text":"\u0000{q}","who":"\""}"#),
        Ok((
            "http://b.example:8080/v1/contacts/a%2Fb/notes?a%20b=x%20y%26z%3D1&both=x%20y%26z%3D1-1.50&tag=r&tag=s"
                .into(),
            Some(r#"{"by":"agent \"","fixed":{"a":1},"list":[1.50],"n":1.50,"text":"\u0000{q}"}"#.into()),
        ))
    );
    assert_eq!(
        render(&template, r#"{"id":7}"#),
        Ok(("http://b.example:8080/v1/contacts/7/notes".into(), Some(r#"{"fixed":{"a":1},"list":[]}"#.into())))
    );
}

#[test]
fn null_and_absent_are_one_thing_in_every_template() {
    let template = template(json!({
        "method": "POST", "path": "/find", "query": {"q": "{a}", "pre": "x-{a}", "list": "{list}"},
        "body": {"filter": "owner eq {a}", "name": "{a}", "both": ["{a}", "is {a}", "{b}"], "deep": {"of": "{a}"}},
    }));
    let nothing = r#"{"both":[false],"deep":{}}"#;
    for (arguments, query, body) in [
        (r#"{"b":false}"#, "", nothing),
        (r#"{"a":null,"b":false,"list":[null]}"#, "", nothing),
        (
            r#"{"a":1.0,"list":[2.0,null,"x"]}"#,
            "?list=2&list=x&pre=x-1&q=1",
            r#"{"both":[1.0,"is 1"],"deep":{"of":1.0},"filter":"owner eq 1","name":1.0}"#,
        ),
    ] {
        let url = format!("http://b.example:8080/v1/find{query}");
        assert_eq!(render(&template, arguments), Ok((url, Some(body.into()))), "{arguments}");
    }
}

#[test]
fn an_argument_that_would_be_structure_is_refused() {
    let template = template(json!({"method": "GET", "path": "/a/{id}", "query": {"q": "{q}"}}));
    for arguments in [
        r#"{"id":".."}"#,
        r#"{"id":"."}"#,
        r#"{"id":""}"#,
        r#"{"id":null}"#,
        r#"{"id":["a"]}"#,
        r#"{}"#,
        r#"{"id":"a","q":{"b":1}}"#,
        r#"{"id":"a","q":[["b"]]}"#,
    ] {
        assert!(render(&template, arguments).is_err(), "{arguments}");
    }
    let long = format!(r#"{{"id":"a","q":"{}"}}"#, "é".repeat(20_000));
    assert_eq!(render(&template, &long).unwrap_err().why, "result in a URL that is too long");
}

#[test]
fn a_segment_of_several_pieces_cannot_become_dots() {
    let template = template(json!({"method": "GET", "path": "/a/.{x}/b"}));
    assert!(render(&template, r#"{"x":"."}"#).is_err());
    assert_eq!(render(&template, r#"{"x":".."}"#).unwrap().0, "http://b.example:8080/v1/a/.../b");
    assert_eq!(render(&template, r#"{"x":"%2e"}"#).unwrap().0, "http://b.example:8080/v1/a/.%252e/b");
}

proptest! {
    #[test]
    fn no_text_moves_the_method_the_host_or_the_structure(id in any::<String>(), q in any::<String>()) {
        let template = template(json!({"method": "DELETE", "path": "/a/{id}/c", "query": {"q": "{q}"}}));
        let arguments = json!({"id": id, "q": q}).to_string();
        if let Ok(rendered) = template.render(&strict::parse(arguments.as_bytes()).unwrap()) {
            prop_assert_eq!(rendered.method, Method::DELETE);
            prop_assert_eq!(rendered.uri.authority().unwrap().as_str(), "b.example:8080");
            let segments: Vec<_> = rendered.uri.path().split('/').collect();
            prop_assert_eq!((segments.len(), segments[1], segments[2], segments[4]), (5, "v1", "a", "c"));
            prop_assert_eq!(decoded(segments[3]), id);
            prop_assert_eq!(decoded(rendered.uri.query().unwrap().strip_prefix("q=").unwrap()), q);
        }
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}
