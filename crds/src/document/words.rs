//! Words and numbers that kubectl reads otherwise than this crate: kubectl reads YAML 1.1, in which `no` is a boolean and `010` a number.
//!
//! A reader does not tell what was in quotes. So each such word is replaced by a number, and the text is read again: what is a number
//! then was not in quotes.

use serde::Deserialize;
use serde_yaml::Value;

use super::{fields, yaml::check_steps};
use crate::finding::Findings;

/// The number in place of the first word; the next ones follow.
const FIRST: u64 = 9_000_000_000_000_000_000;
/// The booleans of YAML 1.1 that are strings in YAML 1.2, as kubectl's reader has them.
const BOOLEANS: [&str; 16] =
    ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"];

/// What kubectl would read otherwise, for each document that is not empty. Nothing, if the text is not YAML.
pub fn misread(text: &str) -> Vec<Findings> {
    let (replaced, words) = replace(text);
    if words.is_empty() || check_steps(&replaced).is_err() {
        return Vec::new();
    }
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&replaced) {
        let Ok(value) = Value::deserialize(document) else { return Vec::new() };
        if !value.is_null() {
            let mut findings = Findings::default();
            walk(&value, "", &words, &mut findings);
            documents.push(findings);
        }
    }
    documents
}

/// The text with a number in place of each word, and the words.
fn replace(text: &str) -> (String, Vec<&str>) {
    let (mut replaced, mut words) = (String::with_capacity(text.len()), Vec::new());
    let is_end =
        |c: char| c.is_whitespace() || matches!(c, '[' | ']' | '{' | '}' | ',' | ':' | '\'' | '"' | '\u{feff}');
    let mut number = FIRST;
    for piece in text.split_inclusive(is_end) {
        let word = piece.strip_suffix(is_end).unwrap_or(piece);
        if BOOLEANS.contains(&word) || is_number(word) {
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

/// Whether a word is a number in YAML 1.1 and a string in YAML 1.2: it has underscores, or begins with a zero.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    let is_octal = digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && (is_octal || digits.contains('_'))
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
        Value::Number(number) => found(word(number.as_u64(), words), at, findings),
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
        // A tag says what it is.
        _ => {}
    }
}

fn found(word: Option<&str>, at: &str, findings: &mut Findings) {
    let Some(word) = word else { return };
    let kind = if is_number(word) { "number" } else { "boolean" };
    let message = format!("{word} without quotes is a {kind} for kubectl, which reads YAML 1.1; write '{word}'");
    findings.add(at, message);
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
            ("a: no\nb: [", vec![]),
        ] {
            let found = misread(text).into_iter().flat_map(|findings| findings.0);
            assert_eq!(found.map(|finding| finding.path).collect::<Vec<_>>(), paths, "{text}");
        }
        let found: Vec<_> = misread("a: 1\n---\n---\nb: no\n").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["", "b: no without quotes is a boolean for kubectl, which reads YAML 1.1; write 'no'"]);
    }
}
