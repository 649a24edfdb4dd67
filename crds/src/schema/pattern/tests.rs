use proptest::prelude::*;

use super::*;
use crate::schema::Steps;

fn is_match(pattern: &str, text: &str) -> bool {
    let compiled = Patterns::default().compile(pattern).unwrap();
    compiled.is_match(text, &mut StateSets::default(), &mut Steps::new(1 << 40)).unwrap()
}

#[test]
fn a_pattern_matches_anywhere_and_in_characters() {
    for (pattern, text, expected) in [
        ("", "", true),
        ("b", "abc", true),
        ("^b", "abc", false),
        ("^a.c$", "aéc", true),
        ("^a.c$", "a\nc", false),
        ("(?s)^a.c$", "a\nc", true),
        ("^[a-c]{2,3}$", "abca", false),
        ("^(?:lead|won)$", "won", true),
        ("^lead|won$", "leader", true),
        ("(?i)^straße$", "STRAßE", true),
        ("^\\p{L}{3}$", "äßé", true),
        ("^\\p{Lu}+$", "Äß", false),
        (r"^\d+$", "٣", false),
        (r"^[\w-]+$", "a-_9", true),
        (r"^[^\s]+$", "a\u{feff}", false),
        (r"^\D$", "x", true),
        (r"\bcat\b", "a cat!", true),
        (r"\bcat\b", "concat", false),
        (r"^\/a\/$", "/a/", true),
        (r"^(a*)*b$", "aaab", true),
        (r"^(|a){3}$", "aa", true),
        (r"(?m)^b$", "a\nb\nc", true),
        (r"^(a|b(?i)c)d$", "bCd", true),
        (r"^[[:alpha:]&&[^b]]$", "b", false),
        (r"^.{0}$", "", true),
        // As docs/server.md says.
        (r"^(?<year>\d{4})(?:-\d{2,}?)*$", "2026-01", true),
        (r"^\t\n\v\f\r\x41\u00e9\u{1F600}\-\.$", "\t\n\u{b}\u{c}\rAé😀-.", true),
        (r"^\p{Script=Greek}\P{L}$", "λ1", true),
        (r"^[\s\S]$", "\n", true),
        (r"^[a-z&&[^b]]$", "b", false),
        (r"^[a-z&&[^b]]$", "&", false),
        (r"^[\&\[]{2}$", "&[", true),
    ] {
        assert_eq!(is_match(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn what_cannot_be_matched_in_linear_time_or_takes_too_much_is_refused_with_its_place() {
    const WHY: &str = "is not supported, because patterns are matched in linear time";
    const INSTEAD: &str = "; write what may be there, or several patterns in `allOf`";
    for (pattern, error) in [
        ("(?=x)", format!("uses a look-ahead (`(?=`, at character 1), which {WHY}{INSTEAD}")),
        ("é(?!x)", format!("uses a negative look-ahead (`(?!`, at character 2), which {WHY}{INSTEAD}")),
        ("^a(?<=x)", format!("uses a look-behind (`(?<=`, at character 3), which {WHY}{INSTEAD}")),
        ("^a(?<!x)", format!("uses a negative look-behind (`(?<!`, at character 3), which {WHY}{INSTEAD}")),
        (r"(a)\1", format!(r"uses a reference to a group (`\1`, at character 4), which {WHY}")),
        (r"(?<x>a)\k<x>", r"is not a regular expression: the escape `\k` is not supported, at character 8".into()),
        (r"\0", r"is not a regular expression: \0 is not supported; write \x00, at character 1".into()),
        (r"a\cJ", r"is not a regular expression: the escape `\c` is not supported, at character 2".into()),
        (r"[\b]", r"is not a regular expression: the escape `\b` is not supported, at character 2".into()),
        ("(", "is not a regular expression: unclosed group, at character 1".into()),
        ("[^]", "is not a regular expression: unclosed character class, at character 1".into()),
        (r"x\p{Nothing}", "is not a regular expression: Unicode property not found, at character 2".into()),
        (r"\p{L}{1000}{1000}", PatternError::TooManyStates.to_string()),
        ("(?-u)a", "uses `(?-u)`, which is not supported in a pattern".into()),
    ] {
        assert_eq!(Patterns::default().compile(pattern).unwrap_err().to_string(), error, "{pattern}");
    }
    assert_eq!(
        Patterns::default().compile(&"a".repeat(MAX_BYTES + 1)).unwrap_err(),
        PatternError::TooLong(MAX_BYTES + 1)
    );
    // Nothing, repeated for ever, takes nothing.
    assert!(is_match("((){4000000000}){4000000000}", "x"));
    assert!(is_match("(a{0}){4000000000}", "x"));
}

#[test]
fn patterns_share_their_budget_and_their_classes() {
    let mut patterns = Patterns::default();
    let compiled = (0..10_000).take_while(|n| patterns.compile(&format!(r"\p{{L}}{{20}}{n}")).is_ok()).count();
    assert!((5_000..6_500).contains(&compiled), "{compiled}");
    assert_eq!(patterns.classes.known.len(), 1);
    // One that is known takes nothing.
    assert!(patterns.compile(r"\p{L}{20}1").is_ok());

    let mut patterns = Patterns::default();
    let classes = (0..100_000).take_while(|n| patterns.compile(&format!(r"(?i)[\p{{L}}{n}]")).is_ok()).count();
    assert!((100..2_000).contains(&classes), "{classes}");
    let nested = format!("{}\\p{{L}}{}", "[".repeat(60), "]".repeat(60));
    assert!(Patterns::default().compile(&nested.repeat(40)).is_ok());
}

fn patterns() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec!["a", "b", ".", "[ab]", "[^a]", r"\w", r"\b", "^", "$", "é", r"\p{L}", ""]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("(?:{})", parts.join("|"))),
            (inner.clone(), prop::sample::select(vec!["*", "+", "?", "{2}", "{1,3}", "{2,}"]))
                .prop_map(|(part, count)| format!("(?:{part}){count}")),
            inner.prop_map(|part| format!("(?i:{part})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_match_is_what_the_regex_crate_finds(pattern in patterns(), text in "[aAbBé \n]{0,8}") {
        // The word characters of ECMA-262 are those of ASCII.
        let expected = regex::Regex::new(&pattern.replace(r"\w", "[0-9A-Za-z_]").replace(r"\b", r"(?-u:\b)")).unwrap();
        prop_assert_eq!(is_match(&pattern, &text), expected.is_match(&text), "{}", pattern);
    }
}
