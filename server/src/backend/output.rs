//! The output of a backend, by how much is known about it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::failure::Failure;
use crate::net::Share;

/// The output of a call.
#[derive(Clone, Debug)]
pub enum Output {
    /// A JSON value: its records can be counted and trimmed. A tool that contains its output shares it among all calls.
    Json(Arc<JsonOutput>),
    /// The content of an MCP result.
    Content(Content),
    /// A text of which nothing is known.
    Opaque(String),
}

/// What the text of a response is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Json,
    /// JSON, or otherwise just text.
    JsonOrText,
    Text,
}

/// A JSON value, or a text of the tool's own, or both.
#[derive(Debug, Default)]
pub struct JsonOutput {
    /// The value as text, not parsed yet; `None` if there is only the text. A response is UTF-8.
    pub value: Option<Bytes>,
    pub form: Form,
    /// The text that the tool has instead of the value as text.
    pub text: Option<String>,
    /// What it holds of the budget of responses.
    pub share: Option<Share>,
    /// For an output that all calls share: the result for clients that may have all of its records, made by the first call.
    pub complete: Option<OnceLock<Result<CompleteResult, Failure>>>,
}

/// A result that contains all records.
#[derive(Clone, Debug)]
pub struct CompleteResult {
    /// The members of the result, without braces around them.
    pub members: Bytes,
    pub records: u64,
}

/// The content of an MCP result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The content blocks: a JSON array.
    pub blocks: String,
    /// `structuredContent`: a JSON object.
    pub structured: Option<String>,
    pub is_error: bool,
}

impl Output {
    /// The most bytes that a result of it can have. JSON grows to twice its size as a text, and a text to six times.
    pub fn largest_result(&self) -> usize {
        let grown = |value: usize, text: usize| value.saturating_mul(3).saturating_add(text.saturating_mul(6)) + 256;
        match self {
            Self::Json(output) => {
                let value = output.value.as_ref().map_or(0, Bytes::len);
                let (json, text) = if output.form == Form::Json { (value, 0) } else { (0, value) };
                grown(json, text + output.text.as_ref().map_or(0, String::len))
            }
            Self::Content(content) => {
                grown(content.blocks.len() + content.structured.as_ref().map_or(0, String::len), 0)
            }
            Self::Opaque(text) => grown(0, text.len()),
        }
    }

    /// Whether its result is made once for all calls.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Json(output) if output.complete.is_some())
    }

    /// The output of one call: a JSON value as text.
    pub fn json(value: Bytes) -> Self {
        Self::Json(Arc::new(JsonOutput { value: Some(value), ..JsonOutput::default() }))
    }
}
