//! The response of a REST service, within bounds.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::{failure::Failure, output::Output};

/// The most bytes of a response.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of an error's text that a caller gets.
const MAX_ERROR_TEXT: usize = 4 * 1024;

/// Responses above this size are received only while there is room for them.
const SMALL: usize = 64 * 1024;
/// Bytes of large responses that are received at once, of all backends. What does not fit waits, and its backend with it.
const LARGE: usize = 4 * MAX_BYTES;

/// The room for large responses that are being received. Clones share it.
#[derive(Clone)]
pub struct Large(Arc<Semaphore>);

impl Default for Large {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE)))
    }
}

/// The output of a call: the body of a successful response. An empty body stands for `null`.
///
/// # Errors
/// Returns an error if the status is not a success, or if the body is too large or incomplete.
pub async fn read(response: Response<Incoming>, large: &Large) -> Result<Output, Failure> {
    let status = response.status();
    let mut room = None;
    let body = collect(response.into_body(), MAX_BYTES, large, &mut room).await;
    if status.is_success() {
        let body = body?;
        return Ok(Output::json_in(room, if body.is_empty() { Bytes::from_static(b"null") } else { body }));
    }
    Err(Failure::Status { status: status.as_u16(), text: beginning(&body.unwrap_or_default()) })
}

/// A body of at most `max` bytes.
async fn collect<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    max: usize,
    large: &Large,
    room: &mut Option<OwnedSemaphorePermit>,
) -> Result<Bytes, Failure> {
    let expected = body.size_hint().exact().map_or(max, |bytes| usize::try_from(bytes).unwrap_or(max));
    if body.size_hint().lower() > max as u64 {
        return Err(Failure::TooLarge);
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else { continue };
        match &first {
            None => first = Some(data),
            Some(first) => {
                if rest.is_empty() {
                    rest.extend_from_slice(first);
                }
                if rest.len() + data.len() > max {
                    return Err(Failure::TooLarge);
                }
                if room.is_none() && rest.len() + data.len() > SMALL {
                    let bytes = u32::try_from(expected.min(max)).unwrap_or(u32::MAX);
                    *room = large.0.clone().acquire_many_owned(bytes).await.ok();
                    // Grown by doubling, it would take more than its room.
                    rest.reserve(expected.min(max).saturating_sub(rest.len()));
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() })
}

/// The beginning of an error's text.
fn beginning(text: &[u8]) -> String {
    let cut = &text[..text.len().min(MAX_ERROR_TEXT)];
    String::from_utf8_lossy(cut).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    #[test]
    fn a_caller_gets_a_bounded_part_of_an_errors_text() {
        let text = beginning("é".repeat(MAX_ERROR_TEXT).as_bytes());
        assert!(text.len() <= MAX_ERROR_TEXT + 3 && text.starts_with('é'));
        assert_eq!(beginning(b" no \xff "), "no \u{fffd}");
    }

    #[tokio::test]
    async fn a_body_is_collected_up_to_its_bound() {
        let chunks = |chunks: &'static [&'static str]| {
            let frames =
                chunks.iter().map(|chunk| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(chunk.as_bytes()))));
            async { collect(StreamBody::new(futures::stream::iter(frames)), 4, &Large::default(), &mut None).await }
        };
        assert_eq!(chunks(&[]).await, Ok(Bytes::new()));
        assert_eq!(chunks(&["ab", "cd"]).await, Ok(Bytes::from_static(b"abcd")));
        assert_eq!(chunks(&["ab", "cde"]).await, Err(Failure::TooLarge));
        assert_eq!(
            collect(Full::new(Bytes::from_static(b"abcde")), 4, &Large::default(), &mut None).await,
            Err(Failure::TooLarge)
        );
    }
}
