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
    ] {
        assert_eq!(is_match(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn what_cannot_be_matched_in_linear_time_or_takes_too_much_is_refused() {
    for (pattern, error) in [
        ("(?=x)", "look-around"),
        (r"(a)\1", "backreferences"),
        ("(", "unclosed group"),
        (r"\p{L}{1000}{1000}", "128 * 1024"),
        ("(?-u)a", "(?-u)"),
        (r"\p{Nothing}", "property"),
    ] {
        let found = Patterns::default().compile(pattern).unwrap_err();
        let expected =
            if error.contains('*') { found == PatternError::TooManyStates } else { found.to_string().contains(error) };
        assert!(expected, "{pattern}: {found}");
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
