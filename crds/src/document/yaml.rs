//! YAML text as JSON values. An error names its line.

use serde::Deserialize;
use serde_json::Value;

use crate::finding::Finding;

/// A text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} column {column}: {message}")]
pub struct SyntaxError {
    /// Counted from 1, as the column is.
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl From<serde_yaml::Error> for SyntaxError {
    fn from(error: serde_yaml::Error) -> Self {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = error.to_string().replacen(&format!(" at line {line} column {column}"), "", 1);
        Self { line, column, message }
    }
}

/// The documents of a YAML stream. Empty ones are left out.
///
/// # Errors
/// Returns the first syntax error or duplicate key.
pub fn split(text: &str) -> Result<Vec<Value>, SyntaxError> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        // serde_yaml's own value refuses duplicate keys, serde_json's does not.
        let value = serde_yaml::Value::deserialize(document).map_err(SyntaxError::from)?;
        let value = serde_json::to_value(value).map_err(|_| SyntaxError {
            line: 1,
            column: 1,
            message: "has a key that is not a string".into(),
        })?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    Ok(documents)
}

/// The documents of a YAML stream, each by itself: what is wrong with one takes no other with it. Empty ones are left out.
///
/// A line `---` always begins a document, whatever comes before it: YAML allows it in no scalar (YAML 1.2.2 section 9.1.2).
pub fn split_each(text: &str) -> Vec<Result<Value, SyntaxError>> {
    if let Ok(documents) = split(text) {
        return documents.into_iter().map(Ok).collect();
    }
    let mut documents = Vec::new();
    for (line, part) in parts(text) {
        match split(part) {
            Ok(read) => documents.extend(read.into_iter().map(Ok)),
            Err(error) => documents.push(Err(SyntaxError { line: error.line + line, ..error })),
        }
    }
    documents
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
    let mut documents = split(text).map_err(|error| Finding::new("", error.to_string()))?;
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) => Ok(document),
        (None, _) => Err(Finding::new("", "is empty")),
        (Some(_), false) => Err(Finding::new("", "contains several documents; one is expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_wrong_with_one_document_takes_no_other_with_it() {
        let text = "a: 1\n---\nb: [1,\nc: }\n--- # the third\r\nd: |\n  ---\n  text\n---\ne: 1\ne: 2\n---\n\tf: 1\n---\n---\ng: '\n---\nh: 1";
        let read: Vec<_> = split_each(text).into_iter().map(|it| it.map_err(|error| error.line)).collect();
        let value = |text: &str| Ok(single(text).unwrap());
        assert_eq!(
            read,
            [value("a: 1"), Err(4), value(r#"d: "---\ntext\n""#), Err(10), Err(13), Err(17), value("h: 1")],
            "each error has the line of the whole text"
        );
        assert_eq!(split_each("a: 1\n---\nb: 2").len(), 2);
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let deep = split_each(&format!("{{a: {deep}}}\n---\nb: 1"));
        assert_eq!((deep.len(), deep[0].is_err(), deep[1].is_ok()), (2, true, true));
    }
}
