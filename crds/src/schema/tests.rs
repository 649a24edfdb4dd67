use proptest::prelude::*;
use serde_json::json;

use super::*;

mod costs;
mod keywords;
mod references;
mod sentences;

fn compile(schema: Value) -> Result<InputSchema, String> {
    InputSchema::compile(schema.as_object().unwrap(), &mut Budget::default())
}

fn check(schema: &InputSchema, value: &Value) -> Result<(), Violation> {
    schema.check(&Instance::new(value), Steps::new(1 << 40)).unwrap()
}

#[test]
fn a_violation_names_the_keyword_and_the_path_but_no_value() {
    let schema = compile(json!({"type": "object", "required": ["q"], "additionalProperties": false, "properties": {
        "q": {"type": "string", "maxLength": 3},
        "list": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1},
        "of": {"oneOf": [{"type": "integer"}, {"type": "number"}]}, "no": false,
    }, "$defs": {"item": {"allOf": [{"minimum": 3}, {"not": {"const": 5}}]}}}))
    .unwrap();
    assert_eq!(check(&schema, &json!({"q": "abc", "list": [3, 4], "of": 1.5})), Ok(()));
    for (value, keyword, instance_path, schema_path) in [
        (json!({"q": "canary"}), "maxLength", "/q", "/properties/q/maxLength"),
        (json!({}), "required", "", "/required"),
        (json!({"q": "a", "canary": 1}), "additionalProperties", "", "/additionalProperties"),
        (json!({"q": "a", "list": [3, 2]}), "minimum", "/list/1", "/$defs/item/allOf/0/minimum"),
        (json!({"q": "a", "list": [5]}), "not", "/list/0", "/$defs/item/allOf/1/not"),
        (json!({"q": "a", "list": []}), "minItems", "/list", "/properties/list/minItems"),
        (json!({"q": "a", "of": 1}), "oneOf", "/of", "/properties/of/oneOf"),
        (json!({"q": "a", "no": 1}), "properties", "/no", "/properties"),
        (json!([]), "type", "", "/type"),
    ] {
        let found = check(&schema, &value).unwrap_err();
        let place = (found.keyword, &*found.instance_path, &*found.schema_path);
        assert_eq!(place, (keyword, instance_path, schema_path), "{value}");
        assert!(!found.message.contains("canary"), "{}", found.message);
    }
}

#[test]
fn what_is_not_a_schema_that_can_be_judged_is_refused_with_its_place() {
    for (schema, part) in [
        (json!({"type": "string"}), "type: object"),
        (json!({"type": "object", "properties": {"a": {"$ref": "https://x.example/s"}}}), "https://x.example/s"),
        (json!({"type": "object", "$schema": "http://json-schema.org/draft-04/schema#"}), "at `/$schema`: must be"),
        (
            json!({"type": "object", "properties": {"a": {"pattern": "(?=x)"}}}),
            "at `/properties/a/pattern`: uses a look-ahead (`(?=`, at character 1)",
        ),
        (json!({"type": "object", "properties": {"a": {"type": "text"}}}), "at `/properties/a/type`: must be one of"),
        (json!({"type": "object", "properties": {"a": 1}}), "at `/properties/a`: must be a schema"),
        (json!({"type": "object", "required": "a"}), "at `/required`: must be a list"),
        (json!({"type": "object", "multipleOf": 0}), "above 0"),
        (json!({"type": "object", "minLength": -1}), "from 0 up"),
        (json!({"type": "object", "anyOf": []}), "at least one"),
        (json!({"type": "object", "$ref": "#/nowhere"}), "`#/nowhere`, which does not exist"),
        (json!({"type": "object", "description": "x".repeat(MAX_BYTES)}), "bytes"),
        (json!({"type": "object", "allOf": [{"$ref": "#"}]}), "refers to itself"),
        (
            json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/a"}},
                "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
            "refers to itself",
        ),
    ] {
        let error = compile(schema.clone()).unwrap_err();
        assert!(error.contains(part), "{schema}: {error}");
    }
}

#[test]
fn references_anchors_and_drafts() {
    let recursive = json!({"type": "object", "properties": {"next": {"$ref": "#"}, "a b/c": {"$ref": "#/$defs/x%20y~1z"},
        "named": {"$ref": "#name"}, "data": {"const": {"$ref": "nowhere"}, "default": {"$ref": "http://x"}}},
        "additionalProperties": {"$dynamicRef": "#any"},
        "$defs": {"x y/z": {"type": "null"}, "n": {"$anchor": "name", "type": "string"}, "d": {"$dynamicAnchor": "any", "type": "boolean"}}});
    let schema = compile(recursive).unwrap();
    for (value, is_valid) in [
        (json!({"next": {"next": {"a b/c": null}}}), true),
        (json!({"next": {"next": {"a b/c": 1}}}), false),
        (json!({"named": "x", "other": true}), true),
        (json!({"named": 1}), false),
        (json!({"other": 1}), false),
        (json!({"data": {"$ref": "nowhere"}}), true),
    ] {
        assert_eq!(check(&schema, &value).is_ok(), is_valid, "{value}");
    }
    let draft_7 =
        compile(json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {
        "list": {"items": [{"type": "string"}], "additionalItems": {"type": "null"}},
        "alone": {"$ref": "#/definitions/text", "maxLength": 1}},
        "dependencies": {"a": ["b"], "c": {"required": ["d"]}}, "definitions": {"text": {"type": "string"}}}))
        .unwrap();
    for (value, is_valid) in [
        (json!({"list": ["x", null]}), true),
        (json!({"list": [1]}), false),
        (json!({"list": ["x", 1]}), false),
        (json!({"alone": "long"}), true),
        (json!({"a": 1}), false),
        (json!({"a": 1, "b": 1, "c": 1, "d": 1}), true),
        (json!({"c": 1}), false),
    ] {
        assert_eq!(check(&draft_7, &value).is_ok(), is_valid, "{value}");
    }
}

/// Values that a schema may be asked about, and their parts.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..4_i64).prop_map(Value::from),
        prop::sample::select(vec![0.5, 1.0, 1.5, -2.0, 1e300, 18_446_744_073_709_551_615.0]).prop_map(Value::from),
        prop::sample::select(vec!["", "a", "b", "ab", "é", "2027-01-01", "1.2.3.4"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c", "ab"]), inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// Schemas with every keyword, and references to three definitions.
fn schemas() -> impl Strategy<Value = Value> {
    let names = || prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    let count = || 0..3_u64;
    let number = || prop::sample::select(vec![-1.0, 0.0, 0.5, 1.0, 2.0, 1e300]);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        prop::collection::btree_set(prop::sample::select(node::TYPES.to_vec()), 1..3)
            .prop_map(|types| json!({"type": types})),
        values().prop_map(|value| json!({"const": value})),
        prop::collection::vec(values(), 0..4).prop_map(|values| json!({"enum": values})),
        (prop::sample::select(vec!["maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum"]), number())
            .prop_map(|(name, number)| json!({name: number})),
        prop::sample::select(vec![0.5, 1.0, 2.0]).prop_map(|number| json!({"multipleOf": number})),
        (
            prop::sample::select(vec![
                "maxLength",
                "minLength",
                "maxItems",
                "minItems",
                "maxProperties",
                "minProperties"
            ]),
            count()
        )
            .prop_map(|(name, count)| json!({name: count})),
        prop::sample::select(vec!["a", "^a", "b$", "^[ab]{2}$", "."]).prop_map(|pattern| json!({"pattern": pattern})),
        Just(json!({"uniqueItems": true})),
        prop::collection::btree_set(names(), 0..3).prop_map(|names| json!({"required": names})),
        (names(), prop::collection::btree_set(names(), 0..2))
            .prop_map(|(name, names)| json!({"dependentRequired": {name: names}})),
    ];
    leaf.prop_recursive(4, 40, 4, move |inner| {
        let list = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            (prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]), list())
                .prop_map(|(name, all)| json!({name: all})),
            (
                prop::sample::select(vec![
                    "not",
                    "items",
                    "contains",
                    "propertyNames",
                    "additionalProperties",
                    "unevaluatedProperties",
                    "unevaluatedItems"
                ]),
                inner.clone()
            )
                .prop_map(|(name, child)| json!({name: child})),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c})),
            (names(), inner.clone()).prop_map(|(name, child)| json!({"dependentSchemas": {name: child}})),
            (inner.clone(), count(), count())
                .prop_map(|(child, min, max)| json!({"contains": child, "minContains": min, "maxContains": max})),
            (prop::sample::select(vec!["^a", "b"]), inner.clone())
                .prop_map(|(pattern, child)| json!({"patternProperties": {pattern: child}})),
            (prop::collection::btree_map(names(), inner.clone(), 0..3), prop::sample::select(vec!["x", "y"])).prop_map(
                |(children, target)| {
                    json!({"properties": children, "items": {"$ref": format!("#/$defs/{target}")}})
                }
            ),
            // Several keywords beside each other.
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| {
                let all = [a, b, c].into_iter().filter_map(|schema| schema.as_object().cloned());
                all.fold(serde_json::Map::new(), |mut sum, map| {
                    sum.extend(map);
                    sum
                })
                .into()
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arguments_are_judged_as_by_another_implementation(
        (x, y, v) in (schemas(), schemas(), schemas()),
        values in prop::collection::vec(values(), 1..6),
    ) {
        let schema = json!({"type": "object", "properties": {"v": v}, "$defs": {"x": x, "y": y}});
        let Ok(compiled) = compile(schema.clone()) else { return Ok(()) };
        let other = jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
        for value in values {
            let arguments = json!({"v": value});
            prop_assert_eq!(check(&compiled, &arguments).is_ok(), other.is_valid(&arguments), "{} {}", schema, arguments);
        }
    }
}
