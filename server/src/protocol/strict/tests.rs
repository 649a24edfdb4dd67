use proptest::prelude::*;
use serde_json::json;

use super::{parser::UNESCAPED, *};

fn refusal(text: &str) -> Option<JsonError> {
    parse(text.as_bytes()).err()
}

#[test]
fn a_value_is_read_as_it_was_written() {
    let text = r#" {"id":1.50,"m":"a\u00e9\ud83d\ude00","p":[true,null,{}]} "#;
    let node = parse(text.as_bytes()).unwrap();
    let leaf = |raw, value| Node { raw, value };
    assert_eq!(
        node,
        leaf(
            text.trim(),
            Json::Object(vec![
                ("id".into(), leaf("1.50", Json::Number("1.50"))),
                ("m".into(), leaf(r#""a\u00e9\ud83d\ude00""#, Json::String("aé😀".into()))),
                (
                    "p".into(),
                    leaf(
                        "[true,null,{}]",
                        Json::Array(vec![
                            leaf("true", Json::Bool(true)),
                            leaf("null", Json::Null),
                            leaf("{}", Json::Object(vec![])),
                        ])
                    )
                ),
            ])
        )
    );
}

#[test]
fn every_invalid_text_is_refused_with_its_reason() {
    for (text, expected) in [
        ("", JsonError::Syntax),
        (" ", JsonError::Syntax),
        ("{} {}", JsonError::Syntax),
        ("[1,]", JsonError::Syntax),
        ("{\"a\":1,}", JsonError::Syntax),
        ("{a:1}", JsonError::Syntax),
        ("01", JsonError::Syntax),
        ("-", JsonError::Syntax),
        ("1.", JsonError::Syntax),
        (".5", JsonError::Syntax),
        ("+1", JsonError::Syntax),
        ("1e", JsonError::Syntax),
        ("NaN", JsonError::NotFinite),
        ("[-Infinity]", JsonError::NotFinite),
        ("[1,Infinity]", JsonError::NotFinite),
        ("-Infinite", JsonError::Syntax),
        ("Nan", JsonError::Syntax),
        ("tru", JsonError::Syntax),
        ("\"\n\"", JsonError::Syntax),
        ("\"\u{0}\"", JsonError::Syntax),
        ("\"\\x\"", JsonError::Syntax),
        ("\"\\u12\"", JsonError::Syntax),
        ("\"\\u+123\"", JsonError::Syntax),
        ("\"abc", JsonError::Syntax),
        ("'a'", JsonError::Syntax),
        ("[1 // one\n]", JsonError::Syntax),
        ("\u{feff}{}", JsonError::Syntax),
        ("\u{a0}1", JsonError::Syntax),
        (r#"{"a":1,"a":1}"#, JsonError::DuplicateKey),
        (r#"{"a":1,"\u0061":1}"#, JsonError::DuplicateKey),
        (r#"[{"x":{"":1,"":2}}]"#, JsonError::DuplicateKey),
        (r#""\ud800""#, JsonError::LoneSurrogate),
        (r#""\ud800\u0041""#, JsonError::LoneSurrogate),
        (r#""\ud800\n""#, JsonError::LoneSurrogate),
        (r#""\udc00""#, JsonError::LoneSurrogate),
        (r#"{"\udfff":1}"#, JsonError::LoneSurrogate),
        ("1e999", JsonError::NumberOutOfRange),
        ("-1e999", JsonError::NumberOutOfRange),
        (&"9".repeat(400), JsonError::NumberOutOfRange),
    ] {
        assert_eq!(refusal(text), Some(expected), "{text:?}");
    }
    assert_eq!(parse(b"\"\xff\"").err(), Some(JsonError::NotUtf8));
    assert_eq!(parse(b"\"\xed\xa0\x80\"").err(), Some(JsonError::NotUtf8));
}

#[test]
fn a_number_at_the_limit_of_the_range_has_a_value_or_is_refused() {
    for (text, expected) in [
        ("1.7976931348623157e308", Some(f64::MAX)),
        // Nearer to the greatest double than to the number that would follow it.
        ("1.7976931348623158e308", Some(f64::MAX)),
        (&format!("17976931348623158{}", "0".repeat(292)), Some(f64::MAX)),
        ("1.7976931348623159e308", None),
        ("1e-999", Some(0.0)),
        ("5e-324", Some(5e-324)),
        ("-0", Some(-0.0)),
        ("18446744073709551616", Some(18_446_744_073_709_551_616.0)),
    ] {
        let found = parse(text.as_bytes()).ok().map(|node| node.to_value());
        assert_eq!(found, expected.map(Value::from), "{text}");
    }
    assert_eq!(parse(b"18446744073709551615").unwrap().to_value(), Value::from(u64::MAX));
}

#[test]
fn nesting_is_accepted_up_to_the_bound_and_no_deeper() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(refusal(&nested(MAX_DEPTH)), None);
    assert_eq!(refusal(&nested(MAX_DEPTH + 1)), Some(JsonError::TooDeep));
    assert_eq!(refusal(&"[".repeat(500_000)), Some(JsonError::TooDeep));
    assert_eq!(refusal(&"{\"a\":".repeat(65)), Some(JsonError::TooDeep));
    // The depths of siblings do not add up.
    assert_eq!(refusal(&format!("[{0},{0}]", nested(MAX_DEPTH - 1))), None);
}

#[test]
fn values_are_accepted_up_to_the_bound_and_no_more() {
    // The outer list is one of them.
    let list = |items: usize| format!("[{}1]", "1,".repeat(items - 1));
    assert_eq!(refusal(&list(REQUEST_VALUES - 1)), None);
    assert_eq!(refusal(&list(REQUEST_VALUES)), Some(JsonError::TooManyValues));
    let answer = |items| check_answer(list(items).as_bytes()).err();
    assert_eq!(answer(ANSWER_VALUES - 1), None);
    assert_eq!(answer(ANSWER_VALUES), Some(JsonError::TooManyValues));
    assert!(std::mem::size_of::<(Cow<'_, str>, Node<'_>)>() <= 72, "the bounds count on it");
}

#[test]
fn a_duplicate_is_found_at_every_size() {
    for size in [1, 2, 15, 16, 17, 18, 100, 5_000] {
        for (k, last_k) in [("k", "k"), ("k", "\\u006b"), ("\\u006b", "k"), ("\\u006b", "\\u006B")] {
            let object = |last: usize| {
                let members: String = (0..size).map(|n| format!("\"{k}{n}\":0,")).collect();
                format!("{{{members}\"{last_k}{last}\":0}}")
            };
            assert_eq!(refusal(&object(size)), None, "{size}");
            for twice in [0, size / 2, size - 1] {
                assert_eq!(refusal(&object(twice)), Some(JsonError::DuplicateKey), "{size} {twice} {k} {last_k}");
            }
        }
    }
}

#[test]
fn pointers_refer_to_values_as_in_rfc_6901() {
    let text = r#"{"items":[{"name":"a"},{"name":"b"}],"a/b":1,"m~n":2,"":3,"0":4}"#;
    let checked = check_answer(text.as_bytes()).unwrap();
    for (pointer, raw) in [
        ("", Some(text)),
        ("/items/1/name", Some("\"b\"")),
        ("/a~1b", Some("1")),
        ("/m~0n", Some("2")),
        ("/", Some("3")),
        ("/0", Some("4")),
        ("/items/01", None),
        ("/items/+1", None),
        ("/items/-", None),
        ("/items/2", None),
        ("items", None),
        ("/items/0/name/x", None),
    ] {
        assert_eq!(checked.pointer(pointer).map(|part| part.raw()), raw, "{pointer}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..30)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Texts that resemble JSON: its tokens in any order.
fn almost_json() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "\"\\u0061\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"",
        "\\",
        "0",
        "1",
        "-",
        ".",
        "e",
        "E+",
        "01",
        "1e9",
        "1E400",
        "-0",
        "true",
        "false",
        "null",
        " ",
        "\t",
        "\u{0}",
        "ü",
        "\"\\",
        "\\u00",
    ]);
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

/// Checks that serde_json and this parser agree, except that only this one refuses duplicates, depth and lone surrogates.
fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<Value>(bytes);
    match parse(bytes) {
        Ok(node) => prop_assert_eq!(theirs.ok(), Some(node.to_value())),
        Err(JsonError::DuplicateKey | JsonError::TooDeep) => {}
        Err(_) => prop_assert!(theirs.is_err()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_serde_json_prints_reads_back_as_the_same_value(value in any_value()) {
        for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
            let node = parse(text.as_bytes()).unwrap();
            prop_assert_eq!(node.raw, text.as_str());
            prop_assert_eq!(node.to_value(), serde_json::from_str::<Value>(&text).unwrap());
        }
    }

    #[test]
    fn acceptance_agrees_with_serde_json_on_tokens(text in almost_json()) {
        agrees(text.as_bytes())?;
    }

    #[test]
    fn acceptance_agrees_with_serde_json_on_broken_texts(value in any_value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        agrees(&bytes)?;
        agrees(&bytes[..at])?;
    }

    #[test]
    fn acceptance_agrees_with_serde_json_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        agrees(&bytes)?;
    }

    #[test]
    fn numbers_keep_their_digits(text in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?") {
        let node = parse(text.as_bytes()).unwrap();
        prop_assert_eq!(&node.value, &Json::Number(&text));
        prop_assert_eq!(node.to_value(), serde_json::from_str::<Value>(&text).unwrap());
    }

    #[test]
    fn escapes_of_any_text_are_undone(text in any::<String>()) {
        let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let json = format!("\"{escaped}\"");
        prop_assert_eq!(parse(json.as_bytes()).unwrap().to_value(), json!(text));
    }
}

#[test]
fn each_escaped_key_is_unescaped_once() {
    for keys in [1, 16, 17, 1_000] {
        let key = |n| format!("{}{n:06}", "\\u0061".repeat(8));
        let all: Vec<_> = (0..keys).map(key).collect();
        let text = format!("{{\"{}\":0}}", all.join("\":0,\""));
        let before = UNESCAPED.get();
        assert_eq!(refusal(&text), None);
        let found = UNESCAPED.get() - before;
        // Two of 1,000 may have the same half of a hash.
        let bytes = all.concat().len();
        assert!((bytes..bytes + 10 * all[0].len()).contains(&found), "{keys} keys: {found} bytes instead of {bytes}");
    }
}
