//! What the sender of arguments that do not fit is told, for each keyword: enough to mend them, and no more than the schema has.

mod cases;

use std::collections::BTreeSet;

use self::cases::cases;
use super::*;

/// Keywords of an argument `x`, a value that does not fit, the sentence, and the arguments that somebody sends who has read only that.
type Case = (Value, Value, &'static str, Value);

/// The same for keywords that draft 7 has otherwise.
fn cases_of_draft_7() -> Vec<Case> {
    vec![
        (
            json!({"dependencies": {"a": ["b"]}}),
            json!({"a": 1}),
            "the required property `b` of `/x` is missing, because `a` is given (`dependencies`)",
            json!({"x": {"a": 1, "b": 1}}),
        ),
        (
            json!({"dependencies": {"a": {"properties": {"b": {"type": "null"}}}}}),
            json!({"a": 1, "b": 777}),
            "`/x/b` must be null, because `a` is given (`type`)",
            json!({"x": {"a": 1, "b": null}}),
        ),
        (
            json!({"dependencies": {"a": false}}),
            json!({"a": 1}),
            "`a` of `/x` must not be given (`dependencies`)",
            json!({"x": {}}),
        ),
        (json!({"items": [{"type": "string"}]}), json!([7]), "`/x/0` must be a string (`type`)", json!({"x": ["7"]})),
        (
            json!({"items": [true], "additionalItems": false}),
            json!([7, 7]),
            "`/x` must have at most 1 item (`additionalItems`)",
            json!({"x": [7]}),
        ),
        (
            json!({"items": [true], "additionalItems": {"type": "null"}}),
            json!([7, 7]),
            "`/x/1` must be null (`type`)",
            json!({"x": [7, null]}),
        ),
        (
            json!({"contains": {"const": 7}, "minContains": 2}),
            json!([8]),
            "`/x` must have at least 1 item that must be 7 (`contains`)",
            json!({"x": [7]}),
        ),
        (
            json!({"$ref": "#/$defs/short", "minimum": 5}),
            json!("canary"),
            "`/x` must have at most 3 characters (`maxLength`)",
            json!({"x": "can"}),
        ),
    ]
}

fn schema(keywords: &Value, dialect: Option<&str>) -> InputSchema {
    let line = json!({"type": "object", "properties": {"amount": {"type": "number", "exclusiveMinimum": 0}}});
    let mut schema = json!({"type": "object", "properties": {"x": keywords},
        "$defs": {"short": {"maxLength": 3}, "line": line}});
    if let Some(dialect) = dialect {
        schema["$schema"] = json!(dialect);
    }
    compile(schema).unwrap()
}

fn of_both_drafts() -> impl Iterator<Item = (Case, Option<&'static str>)> {
    let draft_7 = cases_of_draft_7().into_iter().map(|case| (case, Some("http://json-schema.org/draft-07/schema#")));
    cases().into_iter().map(|case| (case, None)).chain(draft_7)
}

#[test]
fn each_keyword_has_a_sentence_by_which_the_arguments_can_be_mended() {
    for ((keywords, value, expected, mended), dialect) in of_both_drafts() {
        let schema = schema(&keywords, dialect);
        let Violation { keyword, message, .. } = check(&schema, &json!({"x": value})).unwrap_err();
        assert_eq!(message, expected, "{keywords} {value}");
        assert!(!message.contains("canary") && !message.contains("777"), "{message}");
        assert!(
            message.contains(&format!("(`{keyword}`)")),
            "what is recorded, `{keyword}`, is what is told: {message}"
        );
        assert_eq!(check(&schema, &mended), Ok(()), "{message}");
    }
}

/// A keyword is provoked if the value would fit without it, or not fit in another way.
#[test]
fn each_keyword_that_the_compiler_reads_is_provoked() {
    let sources = [include_str!("../compile.rs"), include_str!("../compile/keywords.rs")];
    let quoted = sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2));
    let is_keyword =
        |word: &&str| !word.is_empty() && word.trim_start_matches('$').bytes().all(|b| b.is_ascii_alphabetic());
    // These assert nothing.
    let read: BTreeSet<_> = quoted.filter(is_keyword).filter(|word| !["$id", "$schema"].contains(word)).collect();
    let mut provoked = BTreeSet::new();
    for ((keywords, value, expected, _), dialect) in of_both_drafts() {
        for word in keywords.as_object().into_iter().flat_map(Map::keys) {
            let mut without = keywords.clone();
            without.as_object_mut().unwrap().remove(word);
            let found = check(&schema(&without, dialect), &json!({"x": value}));
            if found.err().is_none_or(|violation| violation.message != expected) {
                provoked.insert(word.clone());
            }
        }
    }
    assert!(read.len() > 40, "{read:?}");
    assert_eq!(provoked.iter().map(String::as_str).collect::<BTreeSet<_>>(), read);
}
