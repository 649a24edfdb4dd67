use std::collections::BTreeMap;

use portcullis_crds::{
    check::Pair,
    contract::{FormPart, HttpTool, PartEncoding},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::protocol::strict;

fn template(tool: Value) -> RequestTemplate {
    let tool: HttpTool = serde_json::from_value(tool).unwrap();
    let templates = templates(&tool);
    RequestTemplate::new("http://b.example:8080/v1", tool.method, &templates)
}

fn templates(tool: &HttpTool) -> RequestTemplates {
    let pairs = |pairs: &BTreeMap<String, String>| {
        let pair = |(name, text): (&String, &String)| Pair {
            name: name.clone(),
            value: Template::parse(text).unwrap(),
            style: tool.styles.get(name).copied().unwrap_or_default(),
        };
        pairs.iter().map(pair).collect()
    };
    let part = |part: &FormPart| PartTemplate {
        name: part.name.clone(),
        value: Template::parse(&part.value).unwrap(),
        is_base64: part.encoding == PartEncoding::Base64,
        filename: part.filename.as_ref().map(|text| Template::parse(text).unwrap()),
        content_type: part.content_type.clone(),
    };
    let body = tool.body.as_ref().map(|body| BodyTemplate::Json(JsonTemplate::parse(&body.0).unwrap()));
    let form = tool.form.as_ref().map(|form| BodyTemplate::Form(pairs(form)));
    let multipart = tool.multipart.as_ref().map(|parts| BodyTemplate::Multipart(parts.iter().map(part).collect()));
    RequestTemplates {
        path: PathTemplate::parse(&tool.path).unwrap(),
        encoded_slashes: tool.encoded_slashes.clone(),
        query: pairs(&tool.query),
        body: body.or(form).or(multipart),
    }
}

fn render(template: &RequestTemplate, arguments: &str) -> Result<(String, Option<String>), Unsendable> {
    let rendered = template.render(&strict::parse(arguments.as_bytes()).unwrap())?;
    Ok((rendered.uri.to_string(), rendered.body.map(|body| String::from_utf8(body.bytes.to_vec()).unwrap())))
}

#[test]
fn arguments_fill_their_places() {
    let template = template(json!({
        "method": "POST", "path": "/contacts/{id}/notes",
        "query": {"a b": "{q}", "tag": "{tags}", "both": "{q}-{n}"},
        "body": {"text": "{text}", "n": "{n}", "by": "agent {who}", "list": ["{x}", "{n}"], "fixed": {"a": 1}},
    }));
    assert_eq!(
        render(&template, r#"{"id":"a;b%2f","q":"x y&z=1","tags":["r","s"],"n":1.50,"text":"\u0000{q}","who":"\""}"#),
        Ok((
            "http://b.example:8080/v1/contacts/a%3Bb%252f/notes?a%20b=x%20y%26z%3D1&both=x%20y%26z%3D1-1.50&tag=r&tag=s"
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
        r#"{"id":"a/b"}"#,
        r#"{"id":"a\\b"}"#,
        r#"{"id":"a\u0000"}"#,
        r#"{"id":"..;a=b"}"#,
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
fn slashes_are_encoded_where_the_tool_admits_them() {
    let template = template(json!({"method": "GET", "path": "/files/{file}/{id}", "encodedSlashes": ["file"]}));
    let url = |arguments: &str| render(&template, arguments).map(|(url, _)| url).map_err(|refused| refused.argument);
    assert_eq!(url(r#"{"file":"a/b\\c..","id":7}"#), Ok("http://b.example:8080/v1/files/a%2Fb%5Cc../7".into()));
    for file in ["..", "../a", "a/..", "a/./b", "a\\\\..", "..;x/a", "a\\u0000"] {
        assert_eq!(url(&format!(r#"{{"file":"{file}","id":7}}"#)), Err("file".into()), "{file}");
    }
    assert_eq!(url(r#"{"file":"a","id":"b/c"}"#), Err("id".into()));
}

#[test]
fn lists_and_objects_are_written_in_the_style_of_the_service() {
    let tool = |method: &str, field: &str| {
        json!({"method": method, "path": "/", field: {"c": "{list}", "f[x]": "{list}", "o": "{object}", "p": "{plain}"},
            "styles": {"c": "Comma", "o": "DeepObject", "p": "Comma"}})
    };
    let (query, form) = (template(tool("GET", "query")), template(tool("POST", "form")));
    let refused = |argument: &str| Err(argument.to_owned());
    for (arguments, expected) in [
        (
            r#"{"list":["a,b",1.0,null,true],"object":{"k&":"v=","l":[1,2e1],"n":null},"plain":"x,y"}"#,
            Ok("c=a%2Cb,1,true&f%5Bx%5D=a%2Cb&f%5Bx%5D=1&f%5Bx%5D=true\
                &o%5Bk%26%5D=v%3D&o%5Bl%5D=1&o%5Bl%5D=20&p=x%2Cy"),
        ),
        (r#"{"list":[],"object":{},"plain":null}"#, Ok("")),
        (r#"{"list":[[1]]}"#, refused("list")),
        (r#"{"list":{"a":1}}"#, refused("list")),
        (r#"{"object":{"a":{"b":1}}}"#, refused("object")),
        (r#"{"object":{"a][b":1}}"#, refused("object")),
        (r#"{"object":[1]}"#, refused("object")),
        (r#"{"object":"a"}"#, refused("object")),
    ] {
        let expected = expected.map(str::to_owned);
        let asked = render(&query, arguments).map(|(url, _)| url.split_once('?').unwrap_or_default().1.to_owned());
        assert_eq!(asked.map_err(|refused| refused.argument), expected, "{arguments}");
        let sent = render(&form, arguments).map(|(_, body)| body.unwrap());
        assert_eq!(sent.map_err(|refused| refused.argument), expected, "{arguments}");
    }
}

#[test]
fn a_body_may_be_an_argument_or_a_list() {
    let whole = template(json!({"method": "PUT", "path": "/", "body": "{item}"}));
    for (arguments, body) in [
        (r#"{"item":{"a":[1.0,null]}}"#, Some(r#"{"a":[1.0,null]}"#)),
        (r#"{"item":"x"}"#, Some(r#""x""#)),
        (r#"{"item":null}"#, None),
        ("{}", None),
    ] {
        assert_eq!(render(&whole, arguments).unwrap().1.as_deref(), body, "{arguments}");
    }
    let list = template(json!({"method": "POST", "path": "/", "body": [{"op": "add", "value": "{v}"}, "{v}"]}));
    assert_eq!(render(&list, r#"{"v":7}"#).unwrap().1.unwrap(), r#"[{"op":"add","value":7},7]"#);
    assert_eq!(render(&list, "{}").unwrap().1.unwrap(), r#"[{"op":"add"}]"#);
}

#[test]
fn no_argument_ends_a_part_of_a_multipart_body() {
    let template = template(json!({"method": "POST", "path": "/", "multipart": [
        {"name": "a\"b", "value": "{a}"},
        {"name": "file", "value": "{text}", "filename": "{name}.csv", "contentType": "text/csv"},
    ]}));
    let parts = |arguments: &str| {
        let rendered = template.render(&strict::parse(arguments.as_bytes()).unwrap())?.body.unwrap();
        let boundary = rendered.media_type.strip_prefix("multipart/form-data; boundary=").unwrap().to_owned();
        let body = String::from_utf8(rendered.bytes.to_vec()).unwrap();
        let body = body.strip_suffix(&format!("--{boundary}--\r\n")).unwrap();
        Ok(body.split(&format!("--{boundary}\r\n")).skip(1).map(str::to_owned).collect::<Vec<_>>())
    };
    let file = |name: &str, text: &str| {
        format!("Content-Disposition: form-data; name=\"file\"{name}\r\nContent-Type: text/csv\r\n\r\n{text}\r\n")
    };
    let plain = |value: &str| format!("Content-Disposition: form-data; name=\"a%22b\"\r\n\r\n{value}\r\n");
    for (arguments, expected) in [
        (
            r#"{"a":["x",2.0,null],"text":"1;2\r\n--x--","name":"a\"\r\nX: y/é"}"#,
            Ok(vec![plain("x"), plain("2"), file("; filename=\"a%22%0D%0AX: y/é.csv\"", "1;2\r\n--x--")]),
        ),
        (r#"{"text":""}"#, Ok(vec![file("", "")])),
        ("{}", Ok(vec![])),
        (r#"{"a":{}}"#, Err("a".to_owned())),
        (r#"{"text":[[]]}"#, Err("text".to_owned())),
    ] {
        let found = parts(arguments).map_err(|refused: Unsendable| refused.argument);
        assert_eq!(found, expected, "{arguments}");
    }
}

#[test]
fn an_argument_in_base64_is_the_bytes_of_a_part() {
    let template = template(json!({"method": "POST", "path": "/", "multipart": [
        {"name": "file", "value": "{a}", "encoding": "Base64", "filename": "a.png", "contentType": "image/png"},
    ]}));
    let body = |arguments: &str| {
        let rendered = template.render(&strict::parse(arguments.as_bytes()).unwrap())?.body.unwrap();
        let boundary = rendered.media_type.strip_prefix("multipart/form-data; boundary=").unwrap().to_owned();
        let parts = rendered.bytes.strip_suffix(format!("--{boundary}--\r\n").as_bytes()).unwrap().to_vec();
        Ok((boundary, parts))
    };
    for (arguments, expected) in [
        (r#"{"a":"iVBORw0KGgoA/w=="}"#, Ok(vec![&b"\x89PNG\r\n\x1a\n\x00\xff"[..]])),
        (r#"{"a":"-//+"}"#, Err("a")),
        (r#"{"a":["/w==","/w",null,""]}"#, Ok(vec![b"\xff", b"\xff", b""])),
        ("{}", Ok(vec![])),
        (r#"{"a":"YQ=="}"#, Ok(vec![b"a"])),
        (r#"{"a":"not base64!"}"#, Err("a")),
        (r#"{"a":"YQ\n=="}"#, Err("a")),
        (r#"{"a":"Y"}"#, Err("a")),
        (r#"{"a":"data:image/png;base64,YQ=="}"#, Err("a")),
        (r#"{"a":{}}"#, Err("a")),
    ] {
        let head =
            "Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n";
        match (body(arguments).map_err(|refused: Unsendable| refused.argument), expected) {
            (Ok((boundary, found)), Ok(parts)) => {
                let head = format!("--{boundary}\r\n{head}");
                let parts = parts.iter().flat_map(|part| [head.as_bytes(), part, b"\r\n"]);
                assert_eq!(found, parts.collect::<Vec<_>>().concat(), "{arguments}");
            }
            (found, expected) => {
                assert_eq!(found.map(|_| ()), expected.map(|_| ()).map_err(str::to_owned), "{arguments}")
            }
        }
    }
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
