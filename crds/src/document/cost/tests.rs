use proptest::{prelude::*, sample};
use serde::Deserialize;
use serde_json::json;
use serde_yaml::Value;

use super::*;
use crate::document::tolerant;

const VALUES: [&str; 42] = [
    "x",
    "x",
    "'[",
    "]'",
    "''[''",
    "\"{",
    "\\\"[",
    "}\"",
    "[",
    "]",
    "{",
    "}",
    "[a, b]",
    "{a: b}",
    "'[': ",
    "[a: ",
    "?",
    ":",
    ": ",
    "|",
    "|",
    "|-",
    ">+",
    "|1",
    "|2-",
    ">3",
    "it's [",
    "a [b",
    "a\u{85}[",
    "[\u{2028}",
    " # [",
    "#[",
    "\t[",
    "&a ",
    "*a",
    "!y ",
    "!<y[>",
    "-",
    "---",
    "...",
    "ü[",
    ",",
];

/// A line of a block: its indentation, what begins in it, and pieces of values.
fn line() -> impl Strategy<Value = String> {
    let begin = sample::select(&["", "", "- ", "- - ", "? ", ": ", "'[': ", "[c]: ", "--- "][..]);
    let begin = prop_oneof![begin.prop_map(str::to_owned), "[a-p]: ", "- [a-p]: ", "[a-p]: "];
    let end = sample::select(&["\n", "\n", "\n", "\r\n", "\n\n", "\u{85}"][..]);
    let values = prop::collection::vec(sample::select(&VALUES[..]), 0..3).prop_map(|values| values.concat());
    (0..4_usize, begin, values, end).prop_map(|(indent, a, b, end)| format!("{}{a}{b}{end}", " ".repeat(indent)))
}

/// Other letters for the brackets.
fn masked(text: &str) -> String {
    text.chars().map(|c| "[]{}".find(c).map_or(c, |n| ['w', 'x', 'y', 'z'][n])).collect()
}

fn masked_value(value: Value) -> Value {
    match value {
        Value::String(text) => masked(&text).into(),
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(masked_value).collect()),
        Value::Mapping(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (masked_value(key), masked_value(value)));
            Value::Mapping(fields.collect())
        }
        Value::Tagged(mut tagged) => {
            tagged.value = masked_value(tagged.value);
            Value::Tagged(tagged)
        }
        other => other,
    }
}

fn read(text: &str) -> Option<Vec<Value>> {
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).ok()).collect()
}

/// The text with other letters for the brackets that are not counted.
fn with_masked_scalars(text: &str) -> String {
    let (mut scanner, mut changed, mut before) = (Scanner::new(text), String::new(), 0);
    loop {
        let first = scanner.token();
        let part = std::str::from_utf8(&scanner.text[before..scanner.at]).unwrap();
        let is_bracket = first.is_some_and(|first| b"[]{}".contains(&first));
        let split = part.len() - usize::from(is_bracket);
        changed.push_str(&masked(&part[..split]));
        changed.push_str(&part[split..]);
        before = scanner.at;
        if first.is_none() {
            return changed;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_is_not_counted_is_no_structure(text in prop::collection::vec(line(), 1..6).prop_map(|lines| lines.concat())) {
        let changed = with_masked_scalars(&text);
        if let Some(documents) = read(&text) {
            let documents = documents.into_iter().map(masked_value).collect();
            prop_assert_eq!(read(&changed), Some(documents), "{}", changed);
        }
    }
}

#[test]
fn brackets_in_texts_cost_nothing_and_a_text_that_would_take_minutes_is_refused_at_once() {
    let many = |unit: &str| unit.repeat((1 << 20) / unit.len());
    for unit in ["[-", "\u{1b}[32m[", " [-", "[-\n", "'[", "\"{\\", "[\u{85}[", "[\u{2028}[", "a: [", "# ["] {
        let text = many(unit);
        let value = json!({"a": [{&text[..1000]: text, "b": [text]}]});
        let printed = serde_yaml::to_string(&value).unwrap();
        assert_eq!(check_steps(&printed), Ok(()), "{unit:?}");
        assert!(tolerant(&printed) == Ok((value, vec![])), "{unit:?}");
    }
    assert_eq!(check_steps(&format!("# {}\na: b {} # {0}", many("[-"), many("[-"))), Ok(()));
    let closed = format!("{}'{}',{}", "[".repeat(30_000), "]".repeat(30_000), many("a,"));
    for text in [many("["), many("{"), many("[a, "), format!("{}{}", "[".repeat(5000), many("a,")), closed] {
        assert_eq!(check_steps(&text).unwrap_err().message, TOO_SLOW);
        assert_eq!(check_steps(&format!("a: |\n  '\n{text}")).unwrap_err().line, 3);
    }
}
