//! References: by pointer, by anchor, and by the `$id` of the whole schema or of a part of it.

use proptest::prelude::*;

use super::*;

const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";

/// A schema whose `x` must be what the reference refers to, which must be a string.
fn with(more: &Value, reference: &str) -> Value {
    let mut schema = json!({"type": "object", "properties": {"x": {"$ref": reference}}});
    schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    schema
}

#[test]
fn a_reference_finds_what_is_in_the_same_document() {
    let text = || json!({"type": "string"});
    let defs = json!({"$defs": {"a": text()}});
    for (more, reference) in [
        (json!({"$id": "https://x.example/s", "$defs": {"a": text()}}), "#/$defs/a"),
        (json!({"$id": "https://x.example/s", "$defs": {"a": text()}}), "https://x.example/s#/$defs/a"),
        (json!({"$id": "https://x.example/s#", "$defs": {"a": text()}}), "https://x.example/s#/$defs/a"),
        (json!({"$id": "https://x.example/v1/s", "$defs": {"a": text()}}), "s#/$defs/a"),
        (json!({"$id": "https://x.example/v1/s", "$defs": {"a": text()}}), "../v1/./s#/$defs/a"),
        (json!({"$id": "urn:example:s", "$defs": {"a": text()}}), "urn:example:s#/$defs/a"),
        (json!({"$id": "T", "$defs": {"a": text()}}), "T#/$defs/a"),
        (json!({"$id": "T", "definitions": {"a": text()}, "$defs": {"a": {"type": "null"}}}), "#/definitions/a"),
        (json!({"$id": "T", "$defs": {"a": {"$anchor": "it", "type": "string"}}}), "#it"),
        (json!({"$id": "T", "$defs": {"a": {"$anchor": "it", "type": "string"}}}), "T#it"),
        (json!({"$id": "https://x.example/s", "$defs": {"a": {"$id": "part", "type": "string"}}}), "part"),
        (json!({"$defs": {"a": {"$id": "https://y.example/p", "type": "string"}}}), "https://y.example/p#"),
        (json!({"$defs": {"a": {"$id": "p", "$defs": {"b": {"$anchor": "it", "type": "string"}}}}}), "p#it"),
        (json!({"$defs": {"a": {"$id": "p", "$ref": "#/$defs/b", "$defs": {"b": text()}}, "b": true}}), "#/$defs/a"),
        (json!({"$schema": DRAFT_7, "$id": "https://x.example/s#", "definitions": {"a": text()}}), "#/definitions/a"),
        (json!({"$schema": DRAFT_7, "definitions": {"a": {"$id": "#it", "type": "string"}}}), "#it"),
        (json!({"$schema": DRAFT_7, "definitions": {"a": {"$id": "T#it", "type": "string"}}}), "T#it"),
        // Names of members are no keywords.
        (json!({"$defs": {"$id": {"$anchor": "it", "type": "string"}, "const": true}}), "#it"),
        (json!({"$defs": {"const": {"$anchor": "it", "type": "string"}}}), "#it"),
        // Data names nothing.
        (
            json!({"const": {"x": "text"}, "$defs": {"a": {"$anchor": "it", "type": "string"}}, "examples": [{"$id": 5}]}),
            "#it",
        ),
        (json!({"$schema": "https://json-schema.org/draft/2020-12/schema#", "$defs": defs["$defs"]}), "#/$defs/a"),
    ] {
        let schema = compile(with(&more, reference)).unwrap_or_else(|error| panic!("{reference} in {more}: {error}"));
        assert_eq!(check(&schema, &json!({"x": "text"})), Ok(()), "{reference} in {more}");
        assert!(check(&schema, &json!({"x": 5})).is_err(), "{reference} in {more}");
    }
}

#[test]
fn a_reference_to_another_document_or_to_nothing_is_refused_with_its_reason() {
    let deep = json!({"$id": "a/".repeat(400), "$defs": {"x": {"$id": "b/".repeat(400)}}});
    for (more, reference, part) in [
        (json!({"$id": "https://x.example/s"}), "https://y.example/s", "`https://y.example/s`; only references inside"),
        (json!({"$id": "https://x.example/s"}), "other", "(#… or `https://x.example/s`)"),
        (json!({"$id": "https://x.example/s"}), "http://x.example/s", "only references inside the document"),
        (json!({}), "s", "(#…)"),
        (json!({}), "", "(#…)"),
        (json!({"$id": "https://x.example/s"}), "#/$defs/a", "which does not exist"),
        (json!({"$id": "https://x.example/s"}), "#it", "which does not exist"),
        // Anchors belong to their resource.
        (json!({"$defs": {"a": {"$id": "p", "$anchor": "it"}}}), "#it", "which does not exist"),
        (json!({"$schema": DRAFT_7, "definitions": {"a": {"$id": "T#it"}}}), "#it", "which does not exist"),
        (json!({"$schema": DRAFT_7, "definitions": {"a": {"$anchor": "it"}}}), "#it", "which does not exist"),
        (json!({"\u{1}": true}), "#/%+1", "`#/%+1`"),
        (json!({"$id": "https://x.example/s#part"}), "#", "must not have a fragment"),
        (json!({"$id": 5}), "#", "at `/$id`: must be a string"),
        (json!({"$defs": {"a": {"$id": "p"}, "b": {"$id": "./p"}}}), "p", "names a second schema like an earlier one"),
        (
            json!({"$defs": {"a": {"$anchor": "it"}, "b": {"$anchor": "it"}}}),
            "#it",
            "at `/$defs/b/$anchor`: names a second",
        ),
        (json!({"$id": "x".repeat(2_000)}), "#/$id", "longer than 1024 bytes"),
        (deep, "#/$defs/x", "longer than 1024 bytes"),
        (json!({"$defs": {"a": {"$id": "p", "$dynamicRef": "#it", "$dynamicAnchor": "it"}}}), "p", "is not supported"),
        (json!({"$defs": {"a": {"$schema": DRAFT_7}}}), "#/$defs/a", "must be that of the whole schema"),
    ] {
        let refused = compile(with(&more, reference)).unwrap_err();
        assert!(refused.contains(part) && refused.len() < 2_000, "{reference} in {more}: {refused}");
    }
}

#[test]
fn schemas_as_generators_write_them_are_judged() {
    // TypeBox: a recursive type names itself.
    let tree =
        compile(json!({"type": "object", "required": ["tree"], "properties": {"tree": {"$id": "T0", "type": "object",
        "required": ["id", "nodes"], "properties": {"id": {"type": "string"},
            "nodes": {"type": "array", "items": {"$ref": "T0"}}}}}}))
        .unwrap();
    let node = |nodes: Value| json!({"id": "x", "nodes": nodes});
    assert_eq!(check(&tree, &json!({"tree": node(json!([node(json!([]))]))})), Ok(()));
    let Violation { instance_path, .. } = check(&tree, &json!({"tree": node(json!([node(json!([5]))]))})).unwrap_err();
    assert_eq!(instance_path, "/tree/nodes/0/nodes/0");
    // zod: definitions that refer to each other, and the `id` of each.
    let zod =
        compile(json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://x.example/call",
        "type": "object", "properties": {"user": {"$ref": "#/$defs/User"}}, "required": ["user"],
        "additionalProperties": false,
        "$defs": {"User": {"id": "User", "type": "object", "properties": {"friend": {"$ref": "#/$defs/User"}}}}}))
        .unwrap();
    assert_eq!(check(&zod, &json!({"user": {"friend": {}}})), Ok(()));
    assert!(check(&zod, &json!({"user": {"friend": {"friend": 5}}})).is_err());
}

#[test]
fn many_names_draw_on_the_budget_of_a_server() {
    let inner: Map<String, Value> = (0..1_000).map(|n| (n.to_string(), json!({"$id": format!("i{n}")}))).collect();
    let mut schema = json!({"type": "object", "properties": {"x": {"$ref": "i5"}}, "$defs": inner});
    assert!(compile(schema.clone()).is_ok());
    // Not compiled, since nothing refers to it, but its names are known.
    schema["$defs"] = json!({"n".repeat(30_000): {"$defs": inner}});
    assert!(compile(schema).unwrap_err().contains("for each 64 bytes of its path"));
}

/// References, and what they may refer to.
fn reference() -> impl Strategy<Value = String> {
    let uri = prop::sample::select(vec!["", "http://x/a/b", "b", "c", "/a/c", "p", "../a/b", "./c", "http://x/a/p"]);
    let fragment = prop::sample::select(vec!["", "#", "#it", "#/$defs/y", "#/$defs/x/$defs/y", "#/properties/v"]);
    (uri, fragment).prop_map(|(uri, fragment)| format!("{uri}{fragment}"))
}

fn named(inner: impl Strategy<Value = Value> + Clone) -> impl Strategy<Value = Value> {
    let id = prop::option::of(prop::sample::select(vec!["http://x/a/b", "b", "c", "p", "q/r"]));
    let anchor = prop::option::of(Just("it"));
    (id, anchor, prop::option::of(reference()), inner.clone(), inner).prop_map(
        |(id, anchor, reference, inner, child)| {
            let mut schema = serde_json::Map::new();
            schema.extend(id.map(|id| ("$id".to_owned(), json!(id))));
            schema.extend(anchor.map(|anchor| ("$anchor".to_owned(), json!(anchor))));
            // Below the value, so that no schema refers to itself.
            let items = reference.map(|reference| ("items".to_owned(), json!({"$ref": reference})));
            schema.extend(items);
            schema.insert("$defs".into(), json!({"y": inner}));
            schema.insert("properties".into(), json!({"v": child}));
            Value::Object(schema)
        },
    )
}

fn bundle() -> impl Strategy<Value = Value> {
    let leaf = || {
        prop_oneof![
            prop::sample::select(vec!["string", "null", "array"]).prop_map(|kind| json!({"type": kind})),
            prop::sample::select(vec!["string", "null", "array"])
                .prop_map(|kind| json!({"type": kind, "$anchor": "it"})),
        ]
    };
    (named(leaf().boxed()), named(named(leaf().boxed()).boxed()), prop::option::of(Just("http://x/a/b"))).prop_map(
        |(v, x, id)| {
            let mut schema = json!({"type": "object", "properties": {"v": v}, "$defs": {"x": x}});
            if let Some(id) = id {
                schema["$id"] = json!(id);
            }
            schema
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn names_mean_what_they_mean_to_another_implementation(
        schema in bundle(), values in prop::collection::vec(values(), 1..6),
    ) {
        let Ok(compiled) = compile(schema.clone()) else { return Ok(()) };
        // It also looks at what nothing refers to.
        let Ok(other) = jsonschema::draft202012::options().build(&schema) else { return Ok(()) };
        for value in values {
            let arguments = json!({"v": [value]});
            prop_assert_eq!(check(&compiled, &arguments).is_ok(), other.is_valid(&arguments), "{} {}", schema, arguments);
        }
    }
}
