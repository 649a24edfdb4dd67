//! What callers are told of arguments that do not fit: enough to mend them, and no more than the schema has.

use super::*;

fn message(schema: &Value, value: &Value) -> String {
    check(&compile(schema.clone()).unwrap(), value).unwrap_err().message
}

/// Keywords of an argument `x`, a value that does not fit, and what is said of it.
#[test]
fn each_keyword_has_a_sentence() {
    let named =
        |of: &str| json!({"properties": {"kind": {"const": of}, of: {"type": "integer"}}, "required": ["kind", of]});
    let cases: Vec<(Value, Value, &str)> = vec![
        (json!({"type": "integer", "minimum": 1}), json!("c"), "`/x` must be an integer and be at least 1 (`type`)"),
        (json!({"type": ["string", "null"]}), json!(1), "`/x` must be null or a string (`type`)"),
        (
            json!({"type": ["integer", "number", "boolean", "array", "object"]}),
            json!("c"),
            "`/x` must be a boolean (true or false) or a number or an array or an object (`type`)",
        ),
        (
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}),
            json!("c"),
            "`/x` must be an object and have `a` and be such that `a` must be a string (`type`)",
        ),
        (
            json!({"type": "string", "enum": ["low", "high", 3, [1.5, {"a": null}]]}),
            json!("canary"),
            r#"`/x` must be one of "low", "high", 3, [1.5,{"a":null}] (`enum`)"#,
        ),
        (json!({"const": "on"}), json!("canary"), r#"`/x` must be "on" (`const`)"#),
        (json!({"enum": []}), json!(1), "`/x` must not be given: the schema allows no value (`enum`)"),
        (json!({"multipleOf": 0.5}), json!(0.7), "`/x` must be a multiple of 0.5 (`multipleOf`)"),
        (json!({"maximum": 100.0}), json!(777), "`/x` must be at most 100 (`maximum`)"),
        (json!({"exclusiveMaximum": 5}), json!(777), "`/x` must be less than 5 (`exclusiveMaximum`)"),
        (json!({"minimum": -1.5}), json!(-777), "`/x` must be at least -1.5 (`minimum`)"),
        (json!({"exclusiveMinimum": 0}), json!(-777), "`/x` must be greater than 0 (`exclusiveMinimum`)"),
        (json!({"maxLength": 1}), json!("canary"), "`/x` must have at most 1 character (`maxLength`)"),
        (json!({"minLength": 20}), json!("canary"), "`/x` must have at least 20 characters (`minLength`)"),
        (json!({"pattern": "^[A-Z]{3}$"}), json!("canary"), "`/x` must match the pattern `^[A-Z]{3}$` (`pattern`)"),
        (json!({"format": "date"}), json!("canary"), "`/x` must have the format `date`, such as 2026-01-31 (`format`)"),
        (
            json!({"format": "duration"}),
            json!("canary"),
            "`/x` must have the format `duration`, such as P1DT2H30M (`format`)",
        ),
        (json!({"maxItems": 1}), json!([1, 2]), "`/x` must have at most 1 item (`maxItems`)"),
        (json!({"minItems": 2}), json!([]), "`/x` must have at least 2 items (`minItems`)"),
        (json!({"uniqueItems": true}), json!([7, 7]), "`/x` must have no two equal items (`uniqueItems`)"),
        (
            json!({"maxProperties": 1}),
            json!({"canary": 1, "b": 2}),
            "`/x` must have at most 1 property (`maxProperties`)",
        ),
        (json!({"minProperties": 1}), json!({}), "`/x` must have at least 1 property (`minProperties`)"),
        (
            json!({"required": ["a", "b", "c"], "properties": {"b": {"type": "string", "format": "time"}}}),
            json!({"a": 1}),
            "the required properties `b`, `c` of `/x` are missing; `b` must be a string and have the format `time`, such as 23:59:00Z (`required`)",
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"a": 1}),
            "the required property `b` of `/x` is missing, because `a` is given (`dependentRequired`)",
        ),
        (json!({"properties": {"a": false}}), json!({"a": 1}), "`/x/a` must not be given (`properties`)"),
        (json!({"properties": {"a/b": {"type": "null"}}}), json!({"a/b": 1}), "`/x/a~1b` must be null (`type`)"),
        (
            json!({"patternProperties": {"^can": {"type": "null"}}}),
            json!({"canary": 1}),
            "`/x/*` must be null (`type`)\n`*` in a place is a name that the schema does not have.",
        ),
        (
            json!({"patternProperties": {"^can": false}}),
            json!({"canary": 1}),
            "`/x` must have no property that matches `^can` (`patternProperties`)",
        ),
        (
            json!({"properties": {"a": true}, "patternProperties": {"^x-": true}, "additionalProperties": false}),
            json!({"canary": 1, "b": 2}),
            "2 properties of `/x` are not allowed; allowed are `a`, those that match the pattern `^x-` (`additionalProperties`)",
        ),
        (
            json!({"properties": {"limit": true, "offset": true, "query": true}, "additionalProperties": false}),
            json!({"limitt": 1, "qurey": 2, "canary": 3}),
            "3 properties of `/x` are not allowed (did you mean `limit`, `query`?); allowed are `limit`, `offset`, `query` (`additionalProperties`)",
        ),
        (
            json!({"properties": {"limit": true}, "additionalProperties": false}),
            json!({"limit": 1, "limits": 2}),
            "1 property of `/x` is not allowed; allowed are `limit` (`additionalProperties`)",
        ),
        (
            json!({"allOf": [{"properties": {"limit": true}}], "unevaluatedProperties": false}),
            json!({"Limit": 1}),
            "1 property of `/x` is not allowed (did you mean `limit`?); allowed are `limit` (`unevaluatedProperties`)",
        ),
        (
            json!({"additionalProperties": {"type": "null"}}),
            json!({"canary": 1}),
            "`/x/*` must be null (`type`)\n`*` in a place is a name that the schema does not have.",
        ),
        (
            json!({"propertyNames": {"pattern": "^[a-z]$"}}),
            json!({"canary": 1}),
            "each name of a property of `/x` must match the pattern `^[a-z]$` (`propertyNames`)",
        ),
        (json!({"propertyNames": false}), json!({"canary": 1}), "`/x` must have no properties (`propertyNames`)"),
        (json!({"prefixItems": [{"type": "string"}]}), json!([7]), "`/x/0` must be a string (`type`)"),
        (
            json!({"items": {"type": "string"}}),
            json!(["a", 7, 7]),
            "\n- `/x/1` must be a string (`type`)\n- `/x/2` must be a string (`type`)",
        ),
        (json!({"prefixItems": [true], "items": false}), json!([7, 7, 7]), "`/x` must have at most 1 item (`items`)"),
        (
            json!({"contains": {"type": "string"}}),
            json!([7]),
            "`/x` must have at least 1 item that must be a string (`contains`)",
        ),
        (
            json!({"contains": {"type": "string"}, "minContains": 2}),
            json!(["a"]),
            "`/x` must have at least 2 items that must be a string (`minContains`)",
        ),
        (
            json!({"contains": {"type": "string"}, "maxContains": 1}),
            json!(["a", "b"]),
            "`/x` must have exactly 1 item that must be a string (`maxContains`)",
        ),
        (
            json!({"allOf": [{"minimum": 800}, {"multipleOf": 5}]}),
            json!(777),
            "\n- `/x` must be at least 800 (`minimum`)\n- `/x` must be a multiple of 5 (`multipleOf`)",
        ),
        (
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
            json!(777),
            "`/x` must be a string or be null (`anyOf`)",
        ),
        (
            json!({"oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]}),
            json!("canary"),
            r#"`/x` must be "a" or be "b" (`oneOf`)"#,
        ),
        (
            json!({"oneOf": [named("circle"), named("square")]}),
            json!({"kind": "square"}),
            "the required property `square` of `/x` is missing; `square` must be an integer, to fit the nearest of 2 alternatives of the schema (`oneOf`)",
        ),
        (
            json!({"oneOf": [named("circle"), named("square")]}),
            json!({"kind": "canary"}),
            r#"`/x` must fit one of these: (1) have all of `kind`, `circle` and be such that `circle` must be an integer and `kind` must be "circle", (2) have all of `kind`, `square` and be such that `kind` must be "square" and `square` must be an integer (`oneOf`)"#,
        ),
        (
            json!({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({}),
            "`/x` must fit one of these: (1) have `a`, (2) have `b` (`anyOf`)",
        ),
        (
            json!({"oneOf": [{"minimum": 5}, {"multipleOf": 2}]}),
            json!(8),
            "`/x` must fit only one of 2 alternatives of the schema, but fits several: (1) be at least 5, (2) be a multiple of 2 (`oneOf`)",
        ),
        (json!({"not": {"const": "a"}}), json!("a"), r#"`/x` must not be "a" (`not`)"#),
        (
            json!({"not": {"required": ["a", "b"]}}),
            json!({"a": 1, "b": 1}),
            "`/x` must not have all of `a`, `b` (`not`)",
        ),
        (
            json!({"not": {"type": "string", "minLength": 3}}),
            json!("canary"),
            "`/x` must not do all of this at once: be a string and have at least 3 characters (`not`)",
        ),
        (json!({"not": {}}), json!("canary"), "`/x` must not be given (`not`)"),
        (
            json!({"if": {"type": "string"}, "then": {"minLength": 20}}),
            json!("canary"),
            "`/x` must have at least 20 characters, because it fits the schema's `if` (to be a string) (`minLength`)",
        ),
        (
            json!({"if": {"type": "string"}, "else": {"minimum": 800}}),
            json!(777),
            "`/x` must be at least 800, because it does not fit the schema's `if` (to be a string) (`minimum`)",
        ),
        (
            json!({"if": {"minimum": 5}, "then": false}),
            json!(777),
            "`/x` must not fit the schema's `if` (to be at least 5) (`then`)",
        ),
        (
            json!({"dependentSchemas": {"a": {"required": ["b"]}}}),
            json!({"a": 1}),
            "the required property `b` of `/x` is missing, because `a` is given (`required`)",
        ),
        (
            json!({"dependentSchemas": {"a": false}}),
            json!({"a": 1}),
            "`a` of `/x` must not be given (`dependentSchemas`)",
        ),
        (json!({"$ref": "#/$defs/short"}), json!("canary"), "`/x` must have at most 3 characters (`maxLength`)"),
        (
            json!({"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": false}),
            json!({"canary": 1}),
            "1 property of `/x` is not allowed; allowed are `a` (`unevaluatedProperties`)",
        ),
        (
            json!({"unevaluatedProperties": {"type": "null"}}),
            json!({"canary": 1}),
            "`/x/*` must be null (`type`)\n`*` in a place is a name that the schema does not have.",
        ),
        (
            json!({"prefixItems": [true], "unevaluatedItems": false}),
            json!([7, 7, 7]),
            "`/x` must have at most 1 item (`unevaluatedItems`)",
        ),
        (json!({"unevaluatedItems": {"type": "null"}}), json!([7]), "`/x/0` must be null (`type`)"),
        (json!(false), json!("canary"), "`/x` must not be given (`properties`)"),
    ];
    for (keywords, value, expected) in &cases {
        let schema = json!({"type": "object", "properties": {"x": keywords}, "$defs": {"short": {"maxLength": 3}}});
        let found = message(&schema, &json!({"x": value}));
        assert_eq!(found, *expected, "{keywords} {value}");
        assert!(!found.contains("canary") && !found.contains("777"), "{found}");
    }
}

#[test]
fn several_faults_are_told_at_once_and_the_first_is_recorded() {
    let schema = json!({"type": "object", "required": ["room", "day"], "additionalProperties": false, "properties": {
        "room": {"type": "string"}, "day": {"type": "string", "format": "date"}, "seats": {"type": "array", "items": {"type": "integer"}}}});
    let found = check(&compile(schema).unwrap(), &json!({"day": "canary", "canary": 1, "seats": ["a", "b", "c"]}));
    let violation = Violation {
        keyword: "required",
        instance_path: String::new(),
        schema_path: "/required".into(),
        message: concat!(
            "\n- the required property `room` is missing; `room` must be a string (`required`)",
            "\n- `/day` must have the format `date`, such as 2026-01-31 (`format`)",
            "\n- `/seats/0` must be an integer (`type`)",
            "\n- `/seats/1` must be an integer (`type`)",
            "\n- `/seats/2` must be an integer (`type`)",
            "\n- 1 property is not allowed; allowed are `day`, `room`, `seats` (`additionalProperties`)",
        )
        .into(),
    };
    assert_eq!(found, Err(violation));
}

#[test]
fn what_a_recursive_schema_demands_is_told_at_the_depth_of_the_fault() {
    let of = |op: &str| {
        json!({"type": "object", "required": ["args", "op"],
            "properties": {"args": {"type": "array", "items": {"$ref": "#/$defs/node"}}, "op": {"const": op}}})
    };
    let leaf = json!({"type": "object", "required": ["field"], "properties": {"field": {"type": "string"}}});
    let schema = json!({"type": "object", "properties": {"where": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"oneOf": [of("and"), of("or"), leaf]}}});
    let value = (0..12).fold(json!({"field": 5}), |inner, _| json!({"op": "or", "args": [{"field": "a"}, inner]}));
    let place = format!("/where{}/field", "/args/1".repeat(12));
    assert_eq!(
        message(&schema, &json!({"where": value})),
        format!("`{place}` must be a string, to fit the nearest of 3 alternatives of the schema (`oneOf`)")
    );
}

#[test]
fn words_are_bounded_and_a_fault_is_told_although_few_steps_are_left_for_words() {
    let long = |n: usize| format!("{n}{}", "x".repeat(3_000));
    let names: Vec<_> = (0..15).map(long).collect();
    let properties: Map<String, Value> =
        names.iter().map(|name| (name.clone(), json!({"enum": names, "pattern": long(0)}))).collect();
    let one = json!({"type": "object", "properties": properties, "required": names, "additionalProperties": false});
    for keywords in
        [&one, &json!({"anyOf": [&one, {"not": &one}]}), &json!({"oneOf": vec![json!({"$ref": "#/$defs/a"}); 500]})]
    {
        let schema =
            json!({"type": "object", "properties": {"x": keywords}, "$defs": {"a": {"type": ["null", "string"]}}});
        let Ok(schema) = compile(schema) else { continue };
        for value in [json!({"a": 1}), json!(5), json!({&names[3]: 5, &names[4]: 5})] {
            let instance = Instance::new(&json!({"x": value}));
            let mut told = 0;
            for steps in std::iter::successors(Some(1_u64), |steps| Some(steps * 5 / 4 + 1)).take(55) {
                if let Ok(Err(violation)) = schema.check(&instance, Steps::new(steps)) {
                    assert!(violation.message.len() < 5_000, "{}", violation.message);
                    told += 1;
                }
            }
            assert!(told > 0, "{value}");
        }
    }
}
