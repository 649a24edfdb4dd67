//! JSON that many services write and most clients read, although RFC 8259 leaves open what it means: half a surrogate pair becomes
//! U+FFFD, and of equal keys in an object the last one counts. What is wrong is removed, so that no two readers differ about it.

use super::checked::end_of;
use super::{ANSWER_VALUES, JsonError, end_of_string, is_space, parser};

/// What is to be mended in a text.
#[derive(Debug, Default)]
pub(super) struct Mends {
    /// Where escapes begin that are half of a pair.
    pub halves: Vec<usize>,
    /// Where the names of members begin, after the quote, that a later one replaces.
    pub replaced: Vec<u32>,
}

/// The response of a backend as [`check_answer`](super::check_answer) accepts it.
///
/// # Errors
/// Returns an error if something else is wrong with it.
pub fn mended(bytes: &[u8]) -> Result<String, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    let Mends { halves, mut replaced } = parser::mends(text, ANSWER_VALUES)?;
    let mut whole = text.to_owned();
    for at in halves {
        whole.replace_range(at..at + 6, "\\ufffd");
    }
    if replaced.is_empty() {
        return Ok(whole);
    }
    replaced.sort_unstable();
    let (mut left, mut from) = (String::with_capacity(whole.len()), 0);
    for name in replaced {
        let begin = name as usize - 1;
        // It may be in a member that was left out before.
        if begin >= from {
            left.push_str(&whole[from..begin]);
            from = end_of_member(whole.as_bytes(), begin);
        }
    }
    left.push_str(&whole[from..]);
    Ok(left)
}

/// The place after a member that is followed by another one, and after the comma between them.
fn end_of_member(bytes: &[u8], from: usize) -> usize {
    let after = |at: usize| at + bytes[at..].iter().position(|byte| !is_space(*byte)).unwrap_or_default() + 1;
    let value = after(end_of_string(bytes, from));
    let value = value + bytes[value..].iter().position(|byte| !is_space(*byte)).unwrap_or_default();
    after(end_of(bytes, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::protocol::strict::check_answer;

    #[test]
    fn half_a_pair_is_replaced_and_the_last_of_equal_keys_counts() {
        for (text, expected) in [
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"b":2,"a":3}"#),
            (r#"{"a" : {"a":1,"a":[{}]} , "\u0061":3 , "x":0}"#, r#"{ "\u0061":3 , "x":0}"#),
            (r#"{"a":1,"a":2,"a":{"b":1,"b":2}}"#, r#"{"a":{"b":2}}"#),
            (r#"[{"a":"},","a":2}]"#, r#"[{"a":2}]"#),
            (r#""\ud83d\ude00 \ud83d""#, r#""\ud83d\ude00 \ufffd""#),
            (r#""\ud83d\ud83d\ude00\udfff\n""#, r#""\ufffd\ud83d\ude00\ufffd\n""#),
            (r#"{"\ud800":1,"\udfff":2}"#, r#"{"\ufffd":2}"#),
        ] {
            let mended = mended(text.as_bytes());
            assert_eq!(mended.as_deref(), Ok(expected), "{text}");
            assert!(check_answer(expected.as_bytes()).is_ok(), "{text}");
        }
        for (text, error) in [
            ("{", JsonError::Syntax),
            (r#""\ud800\u12""#, JsonError::Syntax),
            (r#"{"a":1,"a":NaN}"#, JsonError::NotFinite),
        ] {
            assert_eq!(mended(text.as_bytes()), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_mended_is_what_another_reader_reads(names in proptest::collection::vec("[a-c]", 0..40)) {
            let members = names.iter().enumerate().map(|(n, name)| format!("\"{name}{}\" :{n}", n % 7)).collect::<Vec<_>>();
            let text = format!("{{{}}}", members.join(" ,"));
            let mended = mended(text.as_bytes()).unwrap();
            prop_assert!(check_answer(mended.as_bytes()).is_ok());
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            prop_assert_eq!(read(&mended), read(&text));
        }
    }
}
