//! What a schema and its input may cost, however they are made: a check takes no more steps than it is given, and a schema that
//! refers to itself is judged in a number of steps that grows with the input, and not with the ways through it.

use proptest::prelude::*;

use super::*;

/// A filter language as people write it, and an input that is nested this deep and wrong at the leaf.
fn filter(depth: usize) -> (Value, Value) {
    let branch = |kind: &str| {
        json!({"type": "object", "required": ["args", "op"],
            "properties": {"args": {"type": "array", "items": {"$ref": "#/$defs/node"}}, "op": {"const": kind}}})
    };
    let leaf = json!({"type": "object", "required": ["field"], "properties": {"field": {"type": "string"}}});
    let schema = json!({"type": "object", "required": ["where"], "properties": {"where": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"oneOf": [branch("and"), branch("or"), branch("not"), leaf]}}});
    let mut value = json!({"field": 5});
    for _ in 0..depth {
        value = json!({"op": "and", "args": [value]});
    }
    (schema, json!({"where": value}))
}

/// How many steps a check takes.
fn steps(schema: &InputSchema, value: &Value) -> u64 {
    let instance = Instance::new(value);
    let is_enough = |steps: u64| schema.check(&instance, Steps::new(steps)).is_ok();
    let (mut less, mut enough) = (0, 1 << 40);
    assert!(is_enough(enough), "decided at all");
    while less + 1 < enough {
        let middle = less + (enough - less) / 2;
        if is_enough(middle) { enough = middle } else { less = middle }
    }
    enough
}

#[test]
fn a_recursive_filter_is_judged_in_steps_that_grow_with_the_input() {
    let costs: Vec<u64> = [5, 10, 20, 28]
        .into_iter()
        .map(|depth| {
            let (schema, value) = filter(depth);
            let schema = compile(schema).unwrap();
            assert_eq!(check(&schema, &value).unwrap_err().keyword, "oneOf");
            steps(&schema, &value)
        })
        .collect();
    assert!(costs[3] < costs[0] * 8 && costs[3] < 5_000, "{costs:?}");
}

#[test]
fn what_branches_again_and_again_is_judged_within_the_steps_of_its_size() {
    // Each definition refers twice to the next one.
    let mut defs: Map<String, Value> = (0..30)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            (format!("d{n}"), json!({"allOf": [next, next]}))
        })
        .collect();
    defs.insert("d30".into(), json!({"type": "integer"}));
    let double =
        compile(json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": defs})).unwrap();
    assert!(steps(&double, &json!({"x": 1})) < 2_000);

    // Each level of the value may be judged in two ways.
    let tree = json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/t"}}, "$defs": {"t": {"anyOf": [
        {"type": "array", "items": {"$ref": "#/$defs/t"}, "minItems": 1, "maxItems": 1, "contains": {"const": 1}},
        {"type": "array", "items": {"$ref": "#/$defs/t"}}, {"const": "end"}]}}});
    let mut value = json!("end!");
    for _ in 0..60 {
        value = json!([value]);
    }
    assert!(steps(&compile(tree).unwrap(), &json!({"x": value})) < 10_000);

    // What was evaluated is asked at each of many levels.
    let mut defs: Map<String, Value> = (0..12)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            (format!("d{n}"), json!({"anyOf": [next, next], "unevaluatedProperties": {"type": "integer"}}))
        })
        .collect();
    defs.insert("d12".into(), json!({"properties": {"a": true}}));
    let nested =
        compile(json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": defs})).unwrap();
    assert!(steps(&nested, &json!({"x": {"a": 1, "b": 2}})) < 10_000);

    // What was evaluated is asked once, over definitions that refer twice to the next one.
    let mut defs: Map<String, Value> = (0..20)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            (format!("d{n}"), json!({"allOf": [next, next]}))
        })
        .collect();
    defs.insert("d20".into(), json!({"properties": {"a": true}, "prefixItems": [true]}));
    let asked = compile(json!({"type": "object", "$defs": defs, "properties": {"x": {"$ref": "#/$defs/d0",
        "unevaluatedProperties": false, "unevaluatedItems": false}}}))
    .unwrap();
    for (value, is_valid) in
        [(json!({"a": 1}), true), (json!({"b": 1}), false), (json!([1]), true), (json!([1, 2]), false)]
    {
        let value = json!({"x": value});
        assert_eq!(check(&asked, &value).is_ok(), is_valid);
        assert!(steps(&asked, &value) < 2_000);
    }

    let unique = compile(json!({"type": "object", "properties": {"x": {"uniqueItems": true}}})).unwrap();
    let objects: Vec<Value> = (0..4_000).map(|n| json!({"a": n})).collect();
    assert!(steps(&unique, &json!({"x": objects})) < 200_000);

    let values: Vec<Value> = (0..5_000).map(|n| json!(format!("v{n}"))).collect();
    let closed = compile(json!({"type": "object", "properties": {"x": {"items": {"enum": values}}}})).unwrap();
    assert!(steps(&closed, &json!({"x": values})) < 200_000);
}

#[test]
fn a_division_in_decimal_takes_more_steps_than_one_of_integers() {
    let cost = |divisor: Value, value: Value| {
        let schema = compile(json!({"type": "object", "properties": {"x": {"items": {"multipleOf": divisor}}}}));
        steps(&schema.unwrap(), &json!({"x": vec![value; 1_000]}))
    };
    let integers = cost(json!(7), json!(14));
    for (divisor, value) in [(json!(7), json!(7e300)), (json!(1e-300), json!(1e308)), (json!(0.01), json!(5))] {
        assert_eq!(cost(divisor, value), integers + 7 * 1_000);
    }
}

#[test]
fn all_schemas_of_a_server_share_what_they_may_take() {
    let patterns = |from: usize| {
        let property = |n: usize| (format!("p{n}"), json!({"type": "string", "pattern": format!("\\p{{L}}{{20}}{n}")}));
        json!({"type": "object", "properties": (from..from + 500).map(property).collect::<Map<_, _>>()})
    };
    let mut budget = Budget::default();
    let mut compile = |schema: &Value| InputSchema::compile(schema.as_object().unwrap(), &mut budget);
    let refused = (0..100).find_map(|n| compile(&patterns(n * 500)).err());
    assert!(refused.unwrap().contains("what all patterns of a server may take together"));

    let mut budget = Budget::default();
    let mut compile = |schema: &Value| InputSchema::compile(schema.as_object().unwrap(), &mut budget);
    let many = json!({"type": "object", "properties": {"x": {"enum": (0..10_000).collect::<Vec<_>>()}}});
    let refused = (0..100).find_map(|_| compile(&many).err());
    assert!(refused.unwrap().contains("what all schemas of a server may have together"));
}

#[test]
fn what_repeats_a_long_name_counts_for_as_much_as_it_takes() {
    let inner: Map<String, Value> = (0..1_000).map(|n| (n.to_string(), json!({"$anchor": format!("a{n}")}))).collect();
    let below = |name: usize| json!({"type": "object", "properties": {"n".repeat(name): {"properties": inner}}});
    assert!(compile(below(100)).is_ok());
    let refused = compile(below(30_000)).unwrap_err();
    assert!(refused.contains("for each 64 bytes of its path") && refused.len() < 1_000, "{refused}");

    let mut anchored = below(30_000);
    anchored["properties"] = json!({"x": {"$ref": "#a5"}});
    anchored["$defs"] = json!({"n".repeat(30_000): inner});
    let schema = compile(anchored).unwrap();
    assert_eq!(check(&schema, &json!({"x": 1})), Ok(()));
    // What is said of a long path is short.
    let long = compile(json!({"type": "object", "properties": {"n".repeat(30_000): {"minimum": 1}}})).unwrap();
    let Violation { instance_path, schema_path, .. } = check(&long, &json!({"n".repeat(30_000): 0})).unwrap_err();
    assert!(instance_path.len() < 600 && schema_path.len() < 600);
}

#[test]
fn a_schema_is_no_deeper_and_applies_no_longer_a_chain_than_a_check_can_follow() {
    let mut deep = json!({"type": "integer"});
    for _ in 0..70 {
        deep = json!({"not": deep});
    }
    let refused = compile(json!({"type": "object", "properties": {"x": deep}})).unwrap_err();
    assert!(refused.contains("nest deeper"), "{refused}");
    let mut defs: Map<String, Value> =
        (0..1_000).map(|n| (format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", n + 1)}))).collect();
    defs.insert("d1000".into(), json!(true));
    let chain = json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": defs});
    assert!(compile(chain).unwrap_err().contains("each because of the one before"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Also where a check gives up, it does so within its steps: this ends, whatever the schema is.
    #[test]
    fn no_check_takes_more_than_it_is_given(
        (x, y, v) in (schemas(), schemas(), schemas()), value in values(), budget in 0..2_000_u64,
    ) {
        let schema = json!({"type": "object", "properties": {"v": v}, "$defs": {"x": x, "y": y}});
        let Ok(compiled) = compile(schema) else { return Ok(()) };
        let instance = Instance::new(&json!({"v": value}));
        let within = compiled.check(&instance, Steps::new(budget));
        let unbounded = compiled.check(&instance, Steps::new(1 << 40));
        prop_assert!(unbounded.is_ok());
        // A verdict within a budget is the verdict; only the words about it may be fewer.
        let without_words = |verdict: Result<(), Violation>| verdict.map_err(|violation| Violation { message: String::new(), ..violation });
        if let Ok(within) = within {
            prop_assert_eq!(Ok(without_words(within)), unbounded.map(without_words));
        }
    }
}
