//! Words and numbers that kubectl reads otherwise than this crate: kubectl reads YAML 1.1, in which `no` is a boolean and `010` a number.
//!
//! A reader does not tell what was in quotes. So each such word is replaced by a number, and the text is read again: what is a number
//! then was not in quotes.

use serde::Deserialize;
use serde_yaml::Value;

use super::{cost::check_steps, fields, tolerant::TAG};
use crate::finding::Findings;

/// The number in place of the first word; the next ones follow.
const FIRST: u64 = 9_000_000_000_000_000_000;
/// The booleans of YAML 1.1 that are strings in YAML 1.2, as kubectl's reader has them.
const BOOLEANS: [&str; 16] =
    ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"];

/// The tags of values that both read alike.
const TAGS: [&str; 7] = ["!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq"];
/// A key that kubectl replaces by the fields of its value.
const MERGE: &str = "<<";

/// What kubectl would read otherwise in the document of a text that can be read.
pub(super) fn misread(text: &str) -> Findings {
    let (replaced, words) = replace(text);
    let mut findings = Findings::default();
    if replaced == text {
        return findings;
    }
    let read = check_steps(&replaced).is_ok().then(|| serde_yaml::Deserializer::from_str(&replaced));
    for document in read.into_iter().flatten() {
        match Value::deserialize(document) {
            Ok(value) => walk(&value, "", &words, &mut findings),
            Err(_) => {
                findings.add(
                    "",
                    "cannot be compared with what kubectl reads; leave out tags, and put what is unusual in quotes",
                );
                break;
            }
        }
    }
    findings
}

/// The text with a number in place of each word, and the words.
fn replace(text: &str) -> (String, Vec<&str>) {
    let (mut replaced, mut words) = (String::with_capacity(text.len()), Vec::new());
    let is_end =
        |c: char| c.is_whitespace() || matches!(c, '[' | ']' | '{' | '}' | ',' | ':' | '\'' | '"' | '\u{feff}');
    let mut number = FIRST;
    for piece in text.split_inclusive(is_end) {
        let word = piece.strip_suffix(is_end).unwrap_or(piece);
        if word.starts_with('!') && !TAGS.contains(&word) {
            // The reader ignores a tag of YAML's own that it does not know, and names this one.
            replaced.push_str("!t");
            replaced.push_str(&piece[word.len()..]);
        } else if word == MERGE || BOOLEANS.contains(&word) || is_number(word) {
            replaced.push_str(&number.to_string());
            replaced.push_str(&piece[word.len()..]);
            words.push(word);
            number += 1;
        } else {
            replaced.push_str(piece);
        }
    }
    (replaced, words)
}

/// Whether a word is a number for kubectl and a string in YAML 1.2: it has underscores, begins with a zero, or has a capital letter
/// for its base.
fn is_number(word: &str) -> bool {
    if !word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return false;
    }
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    let plain = digits.replace('_', "");
    let is_octal = plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|b| b.is_ascii_digit());
    let is_capital = ["0X", "0B", "0O"].iter().any(|base| plain.starts_with(base)) && is_based(&plain);
    is_octal || is_capital || digits.contains('_') && (is_based(&plain) || is_decimal(&plain))
}

fn is_based(plain: &str) -> bool {
    let digits = |base: &str| plain.get(..2).filter(|it| it.eq_ignore_ascii_case(base)).map(|_| &plain[2..]);
    [("0x", 16), ("0b", 2), ("0o", 8)].into_iter().any(|(base, radix)| {
        digits(base).is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)))
    })
}

fn is_decimal(plain: &str) -> bool {
    let (mantissa, exponent) = plain.split_once(['e', 'E']).unwrap_or((plain, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let has_digits = mantissa.contains(|c: char| c.is_ascii_digit()) && !exponent.is_empty();
    has_digits && are_digits(whole) && are_digits(fraction) && are_digits(exponent)
}

/// The word that a number stands for.
fn word<'a>(number: Option<u64>, words: &[&'a str]) -> Option<&'a str> {
    let n = usize::try_from(number?.checked_sub(FIRST)?).ok()?;
    words.get(n).copied()
}

fn walk(value: &Value, at: &str, words: &[&str], findings: &mut Findings) {
    if findings.0.len() >= fields::MOST {
        return;
    }
    match value {
        Value::Number(number) => {
            found(word(number.as_u64(), words).filter(|word| *word != MERGE), at, findings);
        }
        Value::Sequence(items) => {
            for (n, item) in items.iter().enumerate() {
                walk(item, &format!("{at}[{n}]"), words, findings);
            }
        }
        Value::Mapping(fields) => {
            for (key, value) in fields {
                let unquoted = word(key.as_u64(), words);
                let text = key.as_str().unwrap_or_default();
                let name = unquoted.or_else(|| word(text.parse().ok(), words)).unwrap_or(text);
                let at = fields::path(at, [name]);
                found(unquoted, &at, findings);
                walk(value, &at, words, findings);
            }
        }
        Value::Tagged(_) => findings.add(at, TAG),
        _ => {}
    }
}

fn found(word: Option<&str>, at: &str, findings: &mut Findings) {
    let Some(word) = word else { return };
    if word == MERGE {
        let message = "kubectl puts the fields of this value in its place; write them out, or put << in quotes";
        return findings.add(at, message);
    }
    let (is, or) = match word.to_ascii_lowercase().as_str() {
        _ if is_number(word) => ("a number", ""),
        "y" | "yes" | "on" => ("true", ", or true"),
        _ => ("false", ", or false"),
    };
    findings.add(at, format!("{word} without quotes is {is} for kubectl, which reads YAML 1.1; write '{word}'{or}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_reads_otherwise_is_named_unless_it_is_in_quotes() {
        for (text, paths) in [
            ("a: no", vec!["a"]),
            ("a: [y, 'y', \"on\", Off, {b: YES}]", vec!["a[0]", "a[3]", "a[4].b"]),
            ("- y: 1\n  'n': 2\n- {n: {'no': off}}", vec!["[0].y", "[1].n", "[1].n.no"]),
            ("a: 010\nb: 1_000\nc: '010'\nd: 0\ne: 0.5\nf: 10\ng: +089", vec!["a", "b", "g"]),
            ("a: say no to it\nb: |\n  no\n  y\nc: >-\n  on\n# no\nd: yes-or-no\ne: nO\nf: true", vec![]),
            ("a: no # why\nb: &x on\nc: *x", vec!["a", "b", "c"]),
            ("\u{feff}a: no", vec!["a"]),
            ("{\"a\":no}", vec!["a"]),
            ("a: !!str no", vec![]),
            (
                "a: 1_0.5\nb: 0x1_0\nc: 0X1F\nd: 1_e3\ne: -_1\nf: 1e1_0\ng: _1\nh: 1_a\ni: 0x1F\nj: 1:30\nk: 1e3\nl: .5_0",
                vec!["a", "b", "c", "d", "e", "f", "l"],
            ),
            ("a: {<<: {b: 1}}\nb: {'<<': 1}\nc: <<\n<<: [{d: 1}]", vec!["a.<<", "<<"]),
            ("a: !!binary aGk=\nb: !!set {x}\nc: 'wow !!binary'\nd: !!int '1'", vec!["a", "b"]),
            ("a: !<tag:yaml.org,2002:binary> aGk=", vec![""]),
        ] {
            let found = misread(text).0.into_iter();
            assert_eq!(found.map(|finding| finding.path).collect::<Vec<_>>(), paths, "{text}");
        }
        assert_eq!(
            misread("b: no\n<<: {}").to_string(),
            "b: no without quotes is false for kubectl, which reads YAML 1.1; write 'no', or false; \
             <<: kubectl puts the fields of this value in its place; write them out, or put << in quotes"
        );
    }
}
