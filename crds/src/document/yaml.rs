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
}
