//! The result of a call: its records are counted, and bounded to the client's maximum.
//!
//! What is left out is left out everywhere: the text is made again from what is left, and the cursor of the next page is removed.
//! The number of all records is not stated either. What cannot be counted although the tool declares records is not passed on.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::{
    backend::{CompleteResult, Content, Failure, JsonOutput, Output},
    config::Records,
    protocol::{
        json::{array, object},
        result::{PassedResult, ToolResult},
        strict::{self, Json, Node},
    },
};

/// The most bytes of an output whose records are not known.
const MAX_OPAQUE_BYTES: usize = 256 * 1024;

/// A result within a client's maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounded {
    /// The members of the result, without braces around them.
    pub members: Bytes,
    /// The number of its records; `None` if it is not known.
    pub records: Option<u64>,
    /// Whether records were left out.
    pub truncated: bool,
}

/// The result of an output, with at most `max` records.
///
/// # Errors
/// Returns an error if the output is not valid or is too large, or if it lacks the list that the tool declares.
pub fn bound(output: &Output, declared: Option<&Records>, max: u32) -> Result<Bounded, Failure> {
    match output {
        Output::Json(output) => match &output.complete {
            Some(complete) => bound_shared(output, complete, declared, max),
            None => bound_json(output, declared, max),
        },
        Output::Content(content) => bound_content(content, declared, max),
        Output::Opaque(text) => bound_opaque(text, declared),
    }
}

/// An output that all calls share: unless it has to be trimmed, its result is made once.
fn bound_shared(
    output: &JsonOutput,
    complete: &OnceLock<Result<CompleteResult, Failure>>,
    declared: Option<&Records>,
    max: u32,
) -> Result<Bounded, Failure> {
    let complete = complete.get_or_init(|| {
        let Bounded { members, records, .. } = bound_json(output, declared, u32::MAX)?;
        Ok(CompleteResult { members, records: records.unwrap_or_default() })
    });
    match complete {
        Ok(CompleteResult { members, records }) if *records <= u64::from(max) => {
            Ok(Bounded { members: members.clone(), records: Some(*records), truncated: false })
        }
        Ok(_) => bound_json(output, declared, max),
        Err(failure) => Err(failure.clone()),
    }
}

fn bound_json(output: &JsonOutput, declared: Option<&Records>, max: u32) -> Result<Bounded, Failure> {
    let text = output.text.as_deref();
    match (&output.value, declared) {
        (Some(value), declared) => {
            let trimmed = Trimmed::of(value, declared, max)?;
            // A text of the tool's own is about all of the records.
            let text = text.filter(|_| !trimmed.truncated);
            Ok(trimmed.result(text))
        }
        (None, Some(_)) => Err(Failure::RecordsMissing),
        (None, None) => Ok(result_of_text(text.unwrap_or_default(), Some(1))),
    }
}

fn bound_content(content: &Content, declared: Option<&Records>, max: u32) -> Result<Bounded, Failure> {
    let Content { blocks, structured, is_error } = content;
    let structured = structured.as_deref();
    let passed_on = |records| {
        let members = PassedResult { content: blocks, structured, is_error: *is_error }.members().into();
        Bounded { members, records, truncated: false }
    };
    match declared {
        // An error has no records.
        Some(declared) if !is_error => {
            let structured = structured.ok_or(Failure::RecordsMissing)?;
            let trimmed = Trimmed::of(structured.as_bytes(), Some(declared), max)?;
            Ok(if trimmed.truncated { trimmed.result(None) } else { passed_on(Some(trimmed.records)) })
        }
        _ if blocks.len() + structured.map_or(0, str::len) > MAX_OPAQUE_BYTES => Err(Failure::TooLarge),
        _ => Ok(passed_on(None)),
    }
}

fn bound_opaque(text: &str, declared: Option<&Records>) -> Result<Bounded, Failure> {
    match declared {
        Some(_) => Err(Failure::RecordsMissing),
        None if text.len() > MAX_OPAQUE_BYTES => Err(Failure::TooLarge),
        None => Ok(result_of_text(text, None)),
    }
}

fn result_of_text(text: &str, records: Option<u64>) -> Bounded {
    let members = ToolResult { text, note: None, structured: None, is_error: false }.members();
    Bounded { members: members.into(), records, truncated: false }
}

/// A value within a client's maximum.
struct Trimmed {
    /// JSON without white space; numbers have the digits that the backend wrote.
    json: String,
    records: u64,
    truncated: bool,
}

impl Trimmed {
    fn of(value: &[u8], declared: Option<&Records>, max: u32) -> Result<Self, Failure> {
        let value = strict::parse_answer(value).map_err(|refusal| match refusal {
            strict::JsonError::TooManyValues => Failure::TooLarge,
            _ => Failure::Malformed,
        })?;
        let mut json = String::with_capacity(value.raw.len());
        let Some(declared) = declared else {
            push(&mut json, &value, &Cut::default());
            return Ok(Self { json, records: 1, truncated: false });
        };
        let list = value.pointer(&declared.path).ok_or(Failure::RecordsMissing)?;
        let found = list.as_array().ok_or(Failure::RecordsMissing)?.len();
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let truncated = found > max;
        let cut = Cut {
            list: truncated.then_some((list, max)),
            cursor: declared.cursor.as_ref().filter(|_| truncated).and_then(|cursor| value.pointer(cursor)),
        };
        push(&mut json, &value, &cut);
        Ok(Self { json, records: found.min(max) as u64, truncated })
    }

    /// The result, with another text than the value itself if there is one.
    fn result(&self, text: Option<&str>) -> Bounded {
        let Self { json, records, truncated } = self;
        // The model must know that it does not see everything.
        let note = truncated.then(|| {
            format!("Only the first {records} records are shown: this client may not be given more by one call.")
        });
        let structured = Some(json.as_str());
        let result = ToolResult { text: text.unwrap_or(json), note: note.as_deref(), structured, is_error: false };
        Bounded { members: result.members().into(), records: Some(*records), truncated: *truncated }
    }
}

/// What is left out of a value: the nodes themselves.
#[derive(Default)]
struct Cut<'n, 'a> {
    list: Option<(&'n Node<'a>, usize)>,
    cursor: Option<&'n Node<'a>>,
}

fn push(out: &mut String, node: &Node<'_>, cut: &Cut<'_, '_>) {
    match &node.value {
        Json::Array(items) => {
            let kept = match cut.list {
                Some((list, max)) if std::ptr::eq(list, node) => &items[..max],
                _ => items,
            };
            let mut array = array(out);
            for item in kept {
                push(array.item(), item, cut);
            }
            array.close();
        }
        Json::Object(members) => {
            let mut object = object(out);
            let is_cut = |member: &Node<'_>| cut.cursor.is_some_and(|cursor| std::ptr::eq(cursor, member));
            for (name, member) in members.iter().filter(|(_, member)| !is_cut(member)) {
                push(object.member(name), member, cut);
            }
            object.close();
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => out.push_str(node.raw),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn declared(path: &str) -> Records {
        Records { path: path.into(), cursor: Some("/next".into()), limit: None }
    }

    fn json(value: &'static str) -> Output {
        Output::json(Bytes::from_static(value.as_bytes()))
    }

    fn trimmed(value: &str, path: &str, max: u32) -> Result<(String, u64, bool), Failure> {
        let trimmed = Trimmed::of(value.as_bytes(), Some(&declared(path)), max)?;
        Ok((trimmed.json, trimmed.records, trimmed.truncated))
    }

    fn bounded(members: &str, records: impl Into<Option<u64>>, truncated: bool) -> Result<Bounded, Failure> {
        Ok(Bounded { members: members.to_owned().into(), records: records.into(), truncated })
    }

    #[test]
    fn records_over_the_maximum_and_the_cursor_are_left_out() {
        let value = r#"{ "items": [ {"a": 1.0}, [2], "\u00e9" ], "next": "c", "n\u0065": 1e3 }"#;
        assert_eq!(trimmed(value, "/items", 2), Ok((r#"{"items":[{"a":1.0},[2]],"ne":1e3}"#.into(), 2, true)));
        assert_eq!(
            trimmed(value, "/items", 3),
            Ok((r#"{"items":[{"a":1.0},[2],"\u00e9"],"next":"c","ne":1e3}"#.into(), 3, false))
        );
        assert_eq!(trimmed("[1,2,3]", "", 1), Ok(("[1]".into(), 1, true)));
    }

    #[test]
    fn a_value_without_its_list_is_refused() {
        for (value, path) in [("{}", "/items"), (r#"{"items":{}}"#, "/items"), ("null", ""), ("[]", "/0")] {
            assert_eq!(trimmed(value, path, 5), Err(Failure::RecordsMissing), "{value}");
        }
        let text = Output::Json(Arc::new(JsonOutput { text: Some("x".into()), ..JsonOutput::default() }));
        assert_eq!(bound(&text, Some(&declared("")), 5), Err(Failure::RecordsMissing));
        assert_eq!(bound(&Output::Opaque("[]".into()), Some(&declared("")), 5), Err(Failure::RecordsMissing));
    }

    #[test]
    fn without_declared_records_a_value_is_one() {
        let members =
            r#""content":[{"type":"text","text":"[1,2]"}],"structuredContent":{"result":[1,2]},"isError":false"#;
        assert_eq!(bound(&json("[1, 2]"), None, 1), bounded(members, 1, false));
    }

    #[test]
    fn an_output_that_calls_share_is_trimmed_for_each_client_by_itself() {
        let complete = Some(OnceLock::new());
        let value = Some(Bytes::from_static(br#"{"items":[1,2,3]}"#));
        let output = Output::Json(Arc::new(JsonOutput { value, text: Some("three".into()), complete, room: None }));
        let all = r#""content":[{"type":"text","text":"three"}],"structuredContent":{"items":[1,2,3]},"isError":false"#;
        for _ in 0..2 {
            assert_eq!(bound(&output, Some(&declared("/items")), 3), bounded(all, 3, false));
            let two = bound(&output, Some(&declared("/items")), 2).unwrap();
            assert_eq!((two.records, two.truncated), (Some(2), true));
            assert!(!two.members.windows(5).any(|text| text == b"three"), "the text is about all records");
        }
    }

    #[test]
    fn content_is_passed_on_or_trimmed_where_its_records_are_declared() {
        let content = |structured: Option<&str>, is_error| {
            Output::Content(Content { blocks: "[{}]".into(), structured: structured.map(str::to_owned), is_error })
        };
        let passed_on = r#""content":[{}],"structuredContent":{"items":[1,2]},"isError":false"#;
        let items = content(Some(r#"{"items":[1,2]}"#), false);
        assert_eq!(bound(&items, None, 1), bounded(passed_on, None, false));
        assert_eq!(bound(&items, Some(&declared("/items")), 2), bounded(passed_on, 2, false));
        let note = "Only the first 1 records are shown: this client may not be given more by one call.";
        let cut = format!(
            r#""content":[{{"type":"text","text":"{{\"items\":[1]}}"}},{{"type":"text","text":"{note}"}}],"structuredContent":{{"items":[1]}},"isError":false"#
        );
        assert_eq!(bound(&items, Some(&declared("/items")), 1), bounded(&cut, 1, true));
        assert_eq!(bound(&content(None, false), Some(&declared("/items")), 1), Err(Failure::RecordsMissing));
        let error = r#""content":[{}],"isError":true"#;
        assert_eq!(bound(&content(None, true), Some(&declared("/items")), 1), bounded(error, None, false));
    }

    #[test]
    fn an_output_whose_records_are_not_known_is_bounded_in_bytes() {
        let text = |bytes| Output::Opaque("x".repeat(bytes));
        assert_eq!(bound(&text(MAX_OPAQUE_BYTES), None, 1).unwrap().records, None);
        assert_eq!(bound(&text(MAX_OPAQUE_BYTES + 1), None, 1), Err(Failure::TooLarge));
        let blocks = format!("[\"{}\"]", "x".repeat(MAX_OPAQUE_BYTES));
        let content = Output::Content(Content { blocks, structured: None, is_error: false });
        assert_eq!(bound(&content, None, 1), Err(Failure::TooLarge));
    }
}
