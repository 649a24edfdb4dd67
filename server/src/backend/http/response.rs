//! The response of a REST service, as responses are in life: JSON, text or nothing, and errors in any form.

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use hyper::body::{Body, Incoming};

use super::{
    body::{Collected, Decoder, MAX_BYTES, SMALL},
    media::{Media, readable},
};
use crate::{
    backend::{
        credentials::Redaction,
        failure::Failure,
        output::{Form, JsonOutput, Output},
    },
    net::Share,
};

/// The most bytes of an error's text that a caller gets.
const MAX_ERROR_TEXT: usize = 4 * 1024;
/// The most bytes of an error that are read to find its text.
const MAX_ERROR: usize = SMALL;

/// The output of a call: the body of a successful response. An empty body stands for `null`.
///
/// # Errors
/// Returns an error if the status is not a success, or if the body is too large or incomplete, or neither JSON nor text.
pub async fn read(response: Response<Incoming>, mut share: Share, redaction: &Redaction) -> Result<Output, Failure> {
    let (head, body) = response.into_parts();
    let media = Media::of(&head.headers);
    if !head.status.is_success() {
        let text = match Decoder::of(&head.headers) {
            Ok(decoder) => {
                let mut collected = Collected::new(MAX_ERROR, decoder);
                // What was read of it is better than nothing.
                let _ = collected.collect(body, &mut share).await;
                collected.finish(&mut share).0
            }
            Err(_) => Bytes::new(),
        };
        // Before a part of it is chosen, so that no value is cut in two; and after it, because a page is written in another way.
        let text = redaction.apply(String::from_utf8_lossy(&text));
        let text = redaction.apply(readable(text.as_bytes(), media, MAX_ERROR_TEXT).into()).into_owned();
        let status = head.status.as_u16();
        return Err(Failure::Status { status, text, retry_after: retry_after(&head.headers) });
    }
    let unread = |why| Failure::Unread(Box::new(why));
    if body.size_hint().lower() > MAX_BYTES as u64 {
        return Err(Failure::TooLarge);
    }
    let mut collected = Collected::new(MAX_BYTES, Decoder::of(&head.headers).map_err(unread)?);
    collected.collect(body, &mut share).await.map_err(unread)?;
    let (text, is_exact) = collected.finish(&mut share);
    output(text, is_exact, media, share)
}

fn output(text: Bytes, is_exact: bool, media: Media, share: Share) -> Result<Output, Failure> {
    let (value, form) = match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => (Bytes::from_static(b"null"), Form::Json),
        Some(first) => {
            let form = match (media, first) {
                (Media::Json, _) => Form::Json,
                (Media::Text | Media::Html, b'{' | b'[') => Form::JsonOrText,
                (Media::Text | Media::Html, _) => Form::Text,
                // Neither JSON nor text: an image, perhaps.
                (Media::Unknown, _) if !is_exact || text.contains(&0) => return Err(Failure::Malformed),
                (Media::Unknown, _) => Form::JsonOrText,
            };
            (text, form)
        }
    };
    Ok(Output::Json(JsonOutput { value: Some(value), form, share: Some(share), ..JsonOutput::default() }.into()))
}

/// After how many seconds the backend may be called again, as it says: a number of seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    value.parse().ok().or_else(|| {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(value).ok()?;
        u64::try_from(date.as_second() - jiff::Timestamp::now().as_second()).ok()
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_backend_says_in_seconds_or_by_a_date_when_it_may_be_called_again() {
        let after = |value: &str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_str(value).unwrap())]);
            retry_after(&headers)
        };
        let cases = ["7", " 0 ", "-1", "1.5", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"];
        assert_eq!(cases.map(after), [Some(7), Some(0), None, None, None, None]);
        assert!(after("Fri, 31 Dec 9998 23:59:59 GMT").is_some_and(|seconds| seconds > 1_000_000));
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
