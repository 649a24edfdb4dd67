//! The records of an answer: counted, and bounded to what the client may have.
//!
//! What is left out is left out everywhere: the text is made again from what is left, and what would lead to the next page goes
//! with it. No total is said, because a total is a record about records that the client may not have.

use crate::{
    backend::Failure,
    config::Records,
    protocol::{
        json::push_string,
        strict::{Json, Node},
    },
};

/// An answer within a client's maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounded {
    /// JSON without white space; numbers have the digits that the backend wrote.
    pub json: String,
    /// How many records are in it.
    pub records: u64,
    /// Whether some were left out.
    pub truncated: bool,
}

/// The sentence that tells the model that it does not see everything.
pub fn note(records: u64) -> String {
    format!("Only the first {records} records are shown: this client may not be given more by one call.")
}

/// # Errors
/// Where the list that the tool declares is not there: what cannot be counted is not passed on.
pub fn bound(answer: &Node<'_>, declared: Option<&Records>, max: u32) -> Result<Bounded, Failure> {
    let mut json = String::with_capacity(answer.raw.len());
    let Some(declared) = declared else {
        push(&mut json, answer, &Cut::default());
        return Ok(Bounded { json, records: 1, truncated: false });
    };
    let list = answer.pointer(&declared.path).ok_or(Failure::RecordsMissing)?;
    let found = list.as_array().ok_or(Failure::RecordsMissing)?.len();
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let truncated = found > max;
    let cut = Cut {
        list: truncated.then_some((list, max)),
        cursor: declared.cursor.as_ref().filter(|_| truncated).and_then(|cursor| answer.pointer(cursor)),
    };
    push(&mut json, answer, &cut);
    Ok(Bounded { json, records: found.min(max) as u64, truncated })
}

/// What is left out of an answer, by the places themselves.
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
            out.push('[');
            for (n, item) in kept.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                push(out, item, cut);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            let mut is_first = true;
            for (name, member) in members {
                if cut.cursor.is_some_and(|cursor| std::ptr::eq(cursor, member)) {
                    continue;
                }
                if !std::mem::take(&mut is_first) {
                    out.push(',');
                }
                push_string(out, name);
                out.push(':');
                push(out, member, cut);
            }
            out.push('}');
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => out.push_str(node.raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::strict;

    fn bounded(answer: &str, path: &str, max: u32) -> Result<(String, u64, bool), Failure> {
        let declared = Records { path: path.into(), cursor: Some("/next".into()), limit: None };
        let bounded = bound(&strict::parse(answer.as_bytes()).unwrap(), Some(&declared), max)?;
        Ok((bounded.json, bounded.records, bounded.truncated))
    }

    #[test]
    fn records_beyond_the_maximum_and_the_cursor_are_left_out() {
        let answer = r#"{ "items": [ {"a": 1.0}, [2], "\u00e9" ], "next": "c", "n\u0065": 1e3 }"#;
        assert_eq!(bounded(answer, "/items", 2), Ok((r#"{"items":[{"a":1.0},[2]],"ne":1e3}"#.into(), 2, true)));
        assert_eq!(
            bounded(answer, "/items", 3),
            Ok((r#"{"items":[{"a":1.0},[2],"\u00e9"],"next":"c","ne":1e3}"#.into(), 3, false))
        );
        assert_eq!(bounded("[1,2,3]", "", 1), Ok(("[1]".into(), 1, true)));
    }

    #[test]
    fn an_answer_without_its_list_is_refused() {
        for (answer, path) in [("{}", "/items"), (r#"{"items":{}}"#, "/items"), ("null", ""), ("[]", "/0")] {
            assert_eq!(bounded(answer, path, 5), Err(Failure::RecordsMissing), "{answer}");
        }
    }

    #[test]
    fn without_records_an_answer_is_one() {
        let bounded = bound(&strict::parse(b"[1, 2]").unwrap(), None, 1).unwrap();
        assert_eq!(bounded, Bounded { json: "[1,2]".into(), records: 1, truncated: false });
    }
}
