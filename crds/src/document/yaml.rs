//! YAML text as JSON values. An error names its line.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    cost::check_escapes,
    salvage::{first_unreadable, is_readable, salvage},
    tolerant::{OnFlaw, documents, json, only},
    words::misread,
};
use crate::finding::{Finding, Findings};

/// A value is nested more deeply than serde_yaml reads.
const TOO_DEEP: &str = "is nested more than 128 levels deep, which cannot be read; make it flatter, such as by moving a part to the level \
                        above";

/// What is wrong with an escape in JSON whose syntax is right.
const HALF: &str = "has half of a surrogate pair, in place of which kubectl reads another character; write both halves, or the character itself";

/// A text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} column {column}: {message}")]
pub struct SyntaxError {
    /// Counted from 1, as the column is.
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// A document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// The value, and what kubectl reads otherwise in it.
    Whole(Value, Findings),
    /// It cannot be read as a whole.
    Broken {
        error: SyntaxError,
        /// The field that cannot be read, if it is known.
        path: String,
        /// The fields that can be read, and a text in place of each that cannot. Nothing must be granted by them.
        fields: Option<Map<String, Value>>,
        /// Whether it is the last one, and its syntax is wrong: more may follow that is not written yet.
        may_be_cut_off: bool,
    },
}

impl From<serde_yaml::Error> for SyntaxError {
    fn from(error: serde_yaml::Error) -> Self {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = error.to_string().replacen(&format!(" at line {line} column {column}"), "", 1);
        let message = if message.contains("recursion limit exceeded") { TOO_DEEP.to_owned() } else { message };
        Self { line, column, message }
    }
}

impl From<serde_json::Error> for SyntaxError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string().replacen(&format!(" at line {line} column {column}"), "", 1);
        let message = if message.ends_with("hex escape") { HALF.to_owned() } else { message };
        Self { line, column, message }
    }
}

/// The documents of a YAML stream. Empty ones are left out.
///
/// # Errors
/// Returns the first syntax error or flaw, such as a duplicate key.
pub fn split(text: &str) -> Result<Vec<Value>, SyntaxError> {
    documents(text, OnFlaw::Refuse).map(|(documents, _)| documents)
}

/// The documents of a file as kubectl reads them, each by itself: what is wrong with one takes no other with it. Empty ones are left
/// out. What kubectl reads otherwise than YAML 1.2 is refused.
///
/// A line `---` always begins a document, whatever comes before it: YAML allows it in no scalar (YAML 1.2.2 section 9.1.2).
pub fn split_each(bytes: &[u8]) -> Vec<Document> {
    let text = String::from_utf8_lossy(bytes);
    let is_text = matches!(text, Cow::Borrowed(_));
    let (mut documents, parts) = (Vec::new(), parts(&text));
    for (n, (line, part)) in parts.iter().copied().enumerate() {
        let of_json = if n == 0 && is_text { json(part, OnFlaw::Refuse) } else { None };
        let read = match of_json {
            Some(read) => read.map(|(read, _)| read.into_iter().map(|value| (value, Findings::default())).collect()),
            None if is_text => one(part),
            None => check_text(part).and_then(|()| one(part)),
        };
        match read {
            Ok(read) => documents.extend(read.into_iter().map(|(value, misread)| Document::Whole(value, misread))),
            Err(error) => {
                let fields = salvage(part);
                let path = fields.as_ref().and_then(first_unreadable).unwrap_or_default();
                let may_be_cut_off = n + 1 == parts.len() && !is_readable(part);
                documents.push(Document::Broken {
                    may_be_cut_off,
                    error: SyntaxError { line: error.line + line, ..error },
                    path,
                    fields,
                });
            }
        }
    }
    documents
}

/// The document between two lines `---`, if it is not empty, and what kubectl reads otherwise in it.
fn one(part: &str) -> Result<Vec<(Value, Findings)>, SyntaxError> {
    let after = part.strip_prefix("---").and_then(|rest| rest.lines().next()).unwrap_or_default().trim();
    if !after.is_empty() && !after.starts_with('#') {
        let message = "begin a new line after `---`; kubectl takes only a comment there".to_owned();
        return Err(SyntaxError { line: 1, column: 4, message });
    }
    let documents = split(part)?;
    if documents.len() > 1 {
        let message = "contains several documents without a line `---` between them, of which kubectl reads the first";
        return Err(SyntaxError { line: 1, column: 1, message: message.to_owned() });
    }
    check_escapes(part)?;
    Ok(documents.into_iter().map(|document| (document, misread(part))).collect())
}

/// Refuses a text that has the character which stands for bytes that are not UTF-8.
fn check_text(part: &str) -> Result<(), SyntaxError> {
    let Some(at) = part.find(char::REPLACEMENT_CHARACTER) else { return Ok(()) };
    let before = &part[..at];
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let message = "is not UTF-8; save the file in this encoding".to_owned();
    Err(SyntaxError { line: before.matches('\n').count() + 1, column, message })
}

/// The text from each line `---` to the next, with the number of lines before it.
fn parts(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut begin, mut begin_line, mut at) = (0, 0, 0);
    for (n, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---");
        if at > begin && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            parts.push((begin_line, &text[begin..at]));
            (begin, begin_line) = (at, n);
        }
        at += line.len();
    }
    parts.push((begin_line, &text[begin..]));
    parts
}

/// The one document of a text.
///
/// # Errors
/// Returns an error as [`split`] does, and if there is no document or more than one.
pub fn single(text: &str) -> Result<Value, Finding> {
    only(split(text).map_err(|error| Finding::new("", error.to_string()))?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::cost::TOO_SLOW, *};

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = split("a: 1\nb: [1,\nc: }").unwrap_err();
        assert_eq!((error.line, error.column), (3, 4), "{error}");
        let error = split("a: 1\na: 2").unwrap_err();
        assert!(error.message.contains("duplicate"), "{error}");
    }

    #[test]
    fn a_text_may_contain_several_documents() {
        assert_eq!(split("a: 1\n---\n---\nb: 2\n").unwrap().len(), 2);
        assert!(single("a: 1\n---\nb: 2\n").is_err());
        assert!(single("# nothing\n").is_err());
    }

    #[test]
    fn a_file_is_read_as_by_kubectl_or_refused() {
        for (text, expected) in [
            ("\u{feff}a: 1\n---\nb: 2", vec![Ok("{\"a\":1}"), Ok("{\"b\":2}")]),
            ("\u{feff} {\"a\":\"\\ud83d\\ude00\\/\"}{\"b\":2}", vec![Ok("{\"a\":\"😀/\"}"), Ok("{\"b\":2}")]),
            ("a: 1\n...\n---\nb: 2", vec![Ok("{\"a\":1}"), Ok("{\"b\":2}")]),
            ("{1: a, true: b}", vec![Ok("{\"1\":\"a\",\"true\":\"b\"}")]),
            ("{\"a\":1,\"a\":1}", vec![Err("duplicate entry with key \"a\"")]),
            ("{\"a\":1e400}", vec![Err("number out of range")]),
            ("{\"a\":\"\\ud83d\"}", vec![Err("has half of a surrogate pair")]),
            ("{\"a\":\"\\ude00\\ud83d\"}", vec![Err("has half of a surrogate pair")]),
            ("{\"a\":1e400} x", vec![Err("did not find expected")]),
            ("{1: a, '1': a}", vec![Err("duplicate entry with key \"1\"")]),
            ("a: {9223372036854775808: b}", vec![Err("a: has a key that is not a string")]),
            ("a: {1.0: b}", vec![Err("a: has a key that is not a string")]),
            ("a: [.inf]", vec![Err("a[0]: is not a number that JSON has")]),
            ("a: 18446744073709551616", vec![Err("a: is a number that is too large")]),
            ("a: !x 1", vec![Err("a: has a tag; JSON has none")]),
            ("a: [\"b\\/c\"]", vec![Err("kubectl does not know the escape \\/ in YAML; write /")]),
            ("a: '\"\\/' # \"\\/\"", vec![Ok("{\"a\":\"\\\"\\\\/\"}")]),
            ("a: !!binary aGk=", vec![Err("a: has a tag; JSON has none")]),
            ("a: 1\n---\nb: [\n---\nc: no\n", vec![Ok("{\"a\":1}"), Err("while parsing"), Err("c: no without quotes")]),
            ("a: 1\r---\rb: 2", vec![Err("contains several documents without a line")]),
            ("a: 1\n--- {b: 2}\n", vec![Ok("{\"a\":1}"), Err("begin a new line after `---`")]),
            ("%YAML 1.1\n---\na: 1", vec![Err("did not find expected <document start>"), Ok("{\"a\":1}")]),
        ] {
            let read = split_each(text.as_bytes()).into_iter().map(|document| match document {
                Document::Whole(value, misread) if misread.is_empty() => Ok(value.to_string()),
                Document::Whole(_, misread) => Err(misread.to_string()),
                Document::Broken { error, .. } => Err(error.message),
            });
            let read = read.collect::<Vec<_>>();
            let agree = |(read, expected): (&Result<String, String>, &Result<&str, &str>)| match (read, expected) {
                (Ok(read), Ok(expected)) => read == expected,
                (Err(read), Err(expected)) => read.contains(expected),
                _ => false,
            };
            assert!(read.len() == expected.len() && read.iter().zip(&expected).all(agree), "{text:?}: {read:?}");
        }
    }

    #[test]
    fn aliases_repeat_at_most_sixteen_times_the_text() {
        let long = "x".repeat(100_000);
        let lists = format!("a: &a [{}]\nb: [{}]", "1,".repeat(100_000), "*a,".repeat(10_000));
        let texts = format!("a: &a {long}\nb: [{}]", "*a,".repeat(10_000));
        let laughs: String = ('b'..'k')
            .zip('a'..)
            .map(|(name, before)| format!("{name}: &{name} [{}]\n", format!("*{before},").repeat(9)))
            .collect();
        for text in [lists, texts, format!("a: &a [1]\n{laughs}")] {
            assert!(split(&text).unwrap_err().message.contains("repe"), "{}", split(&text).unwrap_err());
            assert!(super::super::tolerant(&text).is_err());
        }
        assert!(split(&format!("a: &a {long}\nb: [{}]", "*a,".repeat(10))).is_ok());
    }

    /// The value of each document, or the line, the field and what can be read of it.
    fn read(bytes: &[u8]) -> Vec<Result<Value, (usize, String, Value)>> {
        let read = |document| match document {
            Document::Whole(value, _) => Ok(value),
            Document::Broken { error, path, fields, .. } => {
                Err((error.line, path, fields.map_or(Value::Null, Value::Object)))
            }
        };
        split_each(bytes).into_iter().map(read).collect()
    }

    #[test]
    fn what_is_wrong_with_one_document_takes_no_other_with_it() {
        let text = "a: 1\n---\nb: [1,\nc: }\n--- # the third\r\nd: |\n  ---\n  text\n---\ne: 1\ne: 2\n---\n\tf: 1\n---\n---\ng: '\n---\nh: 1";
        let read: Vec<_> = read(text.as_bytes()).into_iter().map(|it| it.map_err(|(line, ..)| line)).collect();
        let value = |text: &str| Ok(single(text).unwrap());
        assert_eq!(
            read,
            [value("a: 1"), Err(4), value(r#"d: "---\ntext\n""#), Err(10), Err(13), Err(17), value("h: 1")],
            "each error has the line of the whole text"
        );
        assert_eq!(split_each(b"a: 1\n---\nb: 2").len(), 2);
    }

    #[test]
    fn what_is_nested_too_deeply_or_not_utf_8_is_named_with_its_line_and_its_field() {
        let deep = format!("a: 1\nspec:\n  b: {}{}\n  c: 2\n---\nd: 1", "[".repeat(10_000), "]".repeat(10_000));
        let lost = super::super::tolerant::UNREADABLE;
        let broken = Err((3, "spec.b".to_owned(), json!({"a": 1, "spec": {"b": lost, "c": 2}})));
        assert_eq!(read(deep.as_bytes()), [broken, Ok(json!({"d": 1}))]);
        let Document::Broken { error, .. } = split_each(deep.as_bytes()).remove(0) else { panic!("it is too deep") };
        assert_eq!(error.message, TOO_DEEP);

        let bytes = [b"a: 1\n---\n# \nb: 2\nc: caf\xe9\n---\nd: 3\n".as_slice(), b"---\ne: \xef\xbf\xbd\n"].concat();
        let broken = Err((5, String::new(), json!({"b": 2, "c": "caf\u{fffd}"})));
        assert_eq!(
            read(&bytes),
            [Ok(json!({"a": 1})), broken, Ok(json!({"d": 3})), Err((9, String::new(), json!({"e": "\u{fffd}"})))]
        );
        assert_eq!(read("e: \u{fffd}".as_bytes()), [Ok(json!({"e": "\u{fffd}"}))]);
    }

    #[test]
    fn a_text_that_would_take_minutes_is_refused_at_once_and_a_large_document_is_not() {
        let hostile = "[".repeat(1 << 20);
        assert_eq!(split(&hostile).unwrap_err().message, TOO_SLOW);
        assert_eq!(split_each(hostile.as_bytes()).len(), 1);
        assert!(super::super::tolerant(&hostile).unwrap_err().message.contains(TOO_SLOW));
        let log = "\u{1b}[32mINFO\u{1b}[0m started: [a, b\n".repeat(2_000);
        let tool = json!({"name": "a", "description": "one of [ and of {", "static": {"text": log}});
        let value = json!({"tools": vec![tool; 12]});
        let text = serde_yaml::to_string(&value).unwrap();
        assert!(split(&text) == Ok(vec![value]));
    }
}
