use std::sync::Arc;

use proptest::{
    collection::{hash_map, vec},
    prelude::*,
};
use serde_json::{Value, json};

use super::*;

fn declared(path: &str) -> Records {
    Records { path: path.into(), cursor: Some("/next".into()), limit: None }
}

fn json_output(value: &'static str) -> Output {
    Output::json(Bytes::from_static(value.as_bytes()))
}

fn trimmed(value: &str, path: &str, max: u32) -> Result<(String, u64, bool), Failure> {
    let plan = Plan::of_value(value.as_bytes(), Some(&declared(path)), max.into())?;
    let mut json = String::new();
    Excerpt::without(value, &plan.cuts).push(&mut json);
    Ok((json, plan.records.unwrap(), plan.truncated))
}

fn bounded(members: &str, records: impl Into<Option<u64>>, truncated: bool) -> Result<Bounded, Failure> {
    Ok(Bounded { members: members.to_owned().into(), records: records.into(), truncated, is_unstructured: false })
}

#[test]
fn records_over_the_maximum_and_the_cursor_are_left_out() {
    let value = r#"{ "items": [ {"a": 1.0}, [2], "\u00e9" ], "next": "c", "n\u0065": 1e3 }"#;
    assert_eq!(trimmed(value, "/items", 2), Ok((r#"{"items":[{"a":1.0},[2]],"n\u0065":1e3}"#.into(), 2, true)));
    assert_eq!(
        trimmed(value, "/items", 3),
        Ok((r#"{"items":[{"a":1.0},[2],"\u00e9"],"next":"c","n\u0065":1e3}"#.into(), 3, false))
    );
    assert_eq!(trimmed("[1,2,3]", "", 1), Ok(("[1]".into(), 1, true)));
}

#[test]
fn a_cut_leaves_no_comma_and_nothing_of_what_contains_it() {
    let cut = |value: &str, path: &str, cursor: &str, max| {
        let declared = Records { path: path.into(), cursor: Some(cursor.into()), limit: None };
        let plan = Plan::of_value(value.as_bytes(), Some(&declared), MaxRecords::from(max)).unwrap();
        let mut json = String::new();
        Excerpt::without(value, &plan.cuts).push(&mut json);
        json
    };
    for (value, path, cursor, max, left) in [
        (r#"{"next":"c" , "items":[1,2]}"#, "/items", "/next", 1, r#"{"items":[1]}"#),
        (r#"{"items":[1,2],"next":{"a":[1]} ,"x":0}"#, "/items", "/next", 0, r#"{"items":[],"x":0}"#),
        (r#"[{"next":1} , 2]"#, "", "/0/next", 1, "[{}]"),
        (r#"[1,{"next":1}]"#, "", "/1/next", 1, "[1]"),
        (r#"{"page":{"items":["]",2],"n":1},"x":"}"}"#, "/page/items", "/page", 1, r#"{"x":"}"}"#),
        (r#"{"items":[1,2],"y":[5]}"#, "/items", "/items", 1, r#"{"y":[5]}"#),
        (r#"{"items":[1,2],"y":[5]}"#, "/items", "/y/0", 1, r#"{"items":[1],"y":[]}"#),
        (r#"{"items":[1,2],"y":[5 , 6,7]}"#, "/items", "/y/0", 1, r#"{"items":[1],"y":[6,7]}"#),
        (r#"{"items":[1,2],"y":[5,{} ,7]}"#, "/items", "/y/1", 1, r#"{"items":[1],"y":[5,7]}"#),
        (r#"{"items":[1,2],"y":[5,6]}"#, "/items", "/y/2", 1, r#"{"items":[1],"y":[5,6]}"#),
        (r#"[[1,2],"c"]"#, "/0", "/1", 1, "[[1]]"),
        (r#"[1,2,3]"#, "", "/0", 1, "[]"),
        (r#"[1,2,3]"#, "", "/1", 1, "[1]"),
        (r#"{"items":[1,2],"y":[5]}"#, "/items", "", 1, r#"{"items":[1],"y":[5]}"#),
        (r#"{"a\"":[1,2],"\u006eext":5}"#, "/a\"", "/next", 1, r#"{"a\"":[1]}"#),
    ] {
        assert_eq!(cut(value, path, cursor, max), left, "{value}");
    }
}

proptest! {
    #[test]
    fn what_is_left_is_what_a_tree_would_have_left(
        (before, items, next, after) in (any_json(), vec(any_json(), 0..8), any_json(), any_json()),
        (order, max, is_pretty) in (0..6_usize, 0..9_u32, any::<bool>()),
    ) {
        let mut members = [("a~/", json!([before])), ("li st", json!({"items": items, "b": after})), ("next", next)];
        members.rotate_left(order % 3);
        if order > 2 {
            members.swap(0, 1);
        }
        let member = |(name, value): &(&str, Value)| format!("{} : {}", json!(name), if is_pretty { format!("{value:#}") } else { value.to_string() });
        let text = format!(" {{ {} }}\n", members.iter().map(member).collect::<Vec<_>>().join(" , "));
        let declared = Records { path: "/li st/items".into(), cursor: Some("/next".into()), limit: None };
        let output = Output::json(text.clone().into());
        let measured = measure(&output, Some(&declared), max).unwrap();
        let bytes = measured.bytes;
        let bounded = measured.write(&output);
        prop_assert_eq!(bytes, bounded.members.len());

        let mut expected: Value = serde_json::from_str(&text).unwrap();
        let list = expected["li st"]["items"].as_array_mut().unwrap();
        let truncated = list.len() > max as usize;
        list.truncate(max as usize);
        let records = list.len() as u64;
        if truncated {
            expected.as_object_mut().unwrap().remove("next");
        }
        let result: Value = serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(&bounded.members).unwrap())).unwrap();
        prop_assert_eq!(&result["structuredContent"], &expected);
        let shown = result["content"][0]["text"].as_str().unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(shown).unwrap(), expected);
        prop_assert_eq!((bounded.records, bounded.truncated), (Some(records), truncated));
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            hash_map(any::<String>(), inner, 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

#[test]
fn a_value_without_its_list_is_refused() {
    for (value, path) in [("{}", "/items"), (r#"{"items":{}}"#, "/items"), ("[]", "/0")] {
        assert_eq!(trimmed(value, path, 5), Err(Failure::RecordsMissing), "{value}");
    }
    let text = Output::Json(Arc::new(JsonOutput { text: Some("x".into()), ..JsonOutput::default() }));
    assert_eq!(bound(&text, Some(&declared("")), 5), Err(Failure::RecordsMissing));
    assert_eq!(bound(&Output::Opaque("[]".into()), Some(&declared("")), 5), Err(Failure::RecordsMissing));
}

#[test]
fn null_is_a_list_without_records() {
    for (value, path) in [("null", ""), (r#"{"items": null}"#, "/items")] {
        assert_eq!(trimmed(value, path, 0), Ok((value.replace(' ', ""), 0, false)));
    }
}

#[test]
fn of_equal_keys_the_last_counts_and_nothing_else_is_left() {
    let text = r#"{"items":["canary",1,2],"next":"canary","items":[1,"\ud800",3],"next":"c"}"#;
    let output = Output::json(Bytes::from(text));
    let whole = bound(&output, Some(&declared("/items")), 3).unwrap();
    let trimmed = bound(&output, Some(&declared("/items")), 2).unwrap();
    let structured = |bounded: &Bounded| -> Value {
        let members = format!("{{{}}}", std::str::from_utf8(&bounded.members).unwrap());
        assert!(!members.contains("canary"), "{members}");
        serde_json::from_str::<Value>(&members).unwrap()["structuredContent"].clone()
    };
    assert_eq!(structured(&whole), json!({"items": [1, "\u{fffd}", 3], "next": "c"}));
    assert_eq!(structured(&trimmed), json!({"items": [1, "\u{fffd}"]}));
}

#[test]
fn what_is_no_json_is_a_text_where_it_may_be_one() {
    let text = |form, text: &'static str| {
        Output::Json(Arc::new(JsonOutput { value: Some(text.into()), form, ..JsonOutput::default() }))
    };
    let members = |text: &str| format!(r#""content":[{{"type":"text","text":{}}}],"isError":false"#, json!(text));
    for (form, value, shown) in [
        (Form::Text, "12", Ok("12")),
        (Form::Text, "a \"b\"", Ok("a \"b\"")),
        (Form::JsonOrText, "[INFO] up", Ok("[INFO] up")),
        (Form::Json, "[INFO] up", Err(Failure::Malformed)),
    ] {
        let found = bound(&text(form, value), None, 1);
        let expected = shown.map(|shown| bounded(&members(shown), 1, false).unwrap());
        assert_eq!(found, expected, "{value}");
    }
    let json = bound(&text(Form::JsonOrText, "[1, 2]"), Some(&declared("")), 2).unwrap();
    assert_eq!(json.records, Some(2));
    assert_eq!(bound(&text(Form::Text, "[1]"), Some(&declared("")), 2), Err(Failure::RecordsMissing));
}

#[test]
fn without_declared_records_a_value_is_one() {
    let members = r#""content":[{"type":"text","text":"[1,2]"}],"structuredContent":{"result":[1,2]},"isError":false"#;
    assert_eq!(bound(&json_output("[1, 2]"), None, 1), bounded(members, 1, false));
}

#[test]
fn an_output_that_calls_share_is_trimmed_for_each_client_by_itself() {
    let complete = Some(OnceLock::new());
    let value = Some(Bytes::from_static(br#"{"items":[1,2,3]}"#));
    let output =
        Output::Json(Arc::new(JsonOutput { value, text: Some("three".into()), complete, ..JsonOutput::default() }));
    let all = r#""content":[{"type":"text","text":"three"}],"structuredContent":{"items":[1,2,3]},"isError":false"#;
    for _ in 0..2 {
        assert_eq!(bound(&output, Some(&declared("/items")), 3), bounded(all, 3, false));
        let two = bound(&output, Some(&declared("/items")), 2).unwrap();
        assert_eq!((two.records, two.truncated), (Some(2), true));
        assert!(!two.members.windows(5).any(|text| text == b"three"), "the text is about all records");
    }
}

#[test]
fn content_is_passed_on_or_trimmed_where_its_records_are_declared() {
    let content = |structured: Option<&str>, is_error| {
        Output::Content(Content { blocks: "[{}]".into(), structured: structured.map(str::to_owned), is_error })
    };
    let passed_on = r#""content":[{}],"structuredContent":{"items":[1,2]},"isError":false"#;
    let items = content(Some(r#"{"items":[1,2]}"#), false);
    assert_eq!(bound(&items, None, 1), bounded(passed_on, None, false));
    assert_eq!(bound(&items, Some(&declared("/items")), 2), bounded(passed_on, 2, false));
    let note = "Only the first 1 records are shown: this client may not be given more by one call.";
    let cut = format!(
        r#""content":[{{"type":"text","text":"{{\"items\":[1]}}"}},{{"type":"text","text":"{note}"}}],"structuredContent":{{"items":[1]}},"isError":false"#
    );
    assert_eq!(bound(&items, Some(&declared("/items")), 1), bounded(&cut, 1, true));
    assert_eq!(bound(&content(None, false), Some(&declared("/items")), 1), Err(Failure::RecordsMissing));
    let error = r#""content":[{}],"isError":true"#;
    assert_eq!(bound(&content(None, true), Some(&declared("/items")), 1), bounded(error, None, false));
}

#[test]
fn an_output_whose_records_are_not_known_is_bounded_in_bytes() {
    let text = |bytes| Output::Opaque("x".repeat(bytes));
    assert_eq!(bound(&text(MAX_OPAQUE_BYTES), None, 1).unwrap().records, None);
    assert_eq!(bound(&text(MAX_OPAQUE_BYTES + 1), None, 1), Err(Failure::TooLarge));
    let blocks = format!("[\"{}\"]", "x".repeat(MAX_OPAQUE_BYTES));
    let content = Output::Content(Content { blocks, structured: None, is_error: false });
    assert_eq!(bound(&content, None, 1), Err(Failure::TooLarge));
}
