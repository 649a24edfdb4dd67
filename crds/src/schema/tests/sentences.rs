//! What callers are told of arguments that do not fit: enough to mend them, and no more than the schema has.

use super::*;

fn message(schema: &Value, value: &Value) -> String {
    check(&compile(schema.clone()).unwrap(), value).unwrap_err().message
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
