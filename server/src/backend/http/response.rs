//! The response of a REST service, within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::{
    backend::{failure::Failure, output::Output},
    net::{Budget, Share},
};

/// The most bytes of a response.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of an error's text that a caller gets.
const MAX_ERROR_TEXT: usize = 4 * 1024;

/// Responses above this size are received only while there is room for them.
const SMALL: usize = 64 * 1024;
/// Bytes of large responses that are received at once, of all backends. What does not fit waits, and its backend with it.
const LARGE: usize = 4 * MAX_BYTES;
/// The same for the calls of one identity, so that others have room beside one whose backends are slow.
const LARGE_OF_IDENTITY: usize = 2 * MAX_BYTES;
/// No call waits for longer than this: the longest timeout of a tool.
const PATIENCE: Duration = Duration::from_secs(600);

/// A large response that brings less than this in this time is given up while others wait for room.
const LEAST: usize = 64 * 1024;
const WINDOW: Duration = Duration::from_secs(2);

/// The budget of large responses that are being received.
pub fn budget() -> Budget {
    Budget::new(LARGE_OF_IDENTITY, LARGE)
}

/// The output of a call: the body of a successful response. An empty body stands for `null`.
///
/// # Errors
/// Returns an error if the status is not a success, or if the body is too large or incomplete.
pub async fn read(response: Response<Incoming>, mut share: Share) -> Result<Output, Failure> {
    let status = response.status();
    let body = collect(response.into_body(), MAX_BYTES, &mut share).await;
    if status.is_success() {
        let body = body.map_err(|why| Failure::Unread(Box::new(why)))?;
        return Ok(Output::json_of(share, if body.is_empty() { Bytes::from_static(b"null") } else { body }));
    }
    Err(Failure::Status { status: status.as_u16(), text: beginning(&body.unwrap_or_default()) })
}

/// A body of at most `max` bytes.
async fn collect<B: Body<Data = Bytes> + Unpin>(mut body: B, max: usize, share: &mut Share) -> Result<Bytes, Failure> {
    let expected = body.size_hint().exact().map_or(max, |bytes| usize::try_from(bytes).unwrap_or(max)).min(max);
    if body.size_hint().lower() > max as u64 {
        return Err(Failure::TooLarge);
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut pace = Pace::new();
    while let Some(frame) = pace.frame(&mut body, share).await? {
        let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else { continue };
        pace.received += data.len();
        match &first {
            None => first = Some(data),
            Some(first) => {
                if rest.is_empty() {
                    rest.extend_from_slice(first);
                }
                if rest.len() + data.len() > max {
                    return Err(Failure::TooLarge);
                }
                if share.is_empty() && rest.len() + data.len() > SMALL {
                    share.grow_within(expected, PATIENCE).await.map_err(|_| Failure::Timeout(pace.began.elapsed()))?;
                    // Grown by doubling, it would take more than its share.
                    rest.reserve(expected.saturating_sub(rest.len()));
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    let body = if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() };
    share.shrink(body.len());
    Ok(body)
}

/// How fast a response arrives.
struct Pace {
    began: Instant,
    window: Instant,
    /// Bytes since the window began.
    received: usize,
}

impl Pace {
    fn new() -> Self {
        let now = Instant::now();
        Self { began: now, window: now, received: 0 }
    }

    /// The next frame.
    ///
    /// # Errors
    /// Returns an error if the response holds room that others wait for, and arrives too slowly.
    async fn frame<B: Body<Data = Bytes> + Unpin>(
        &mut self,
        body: &mut B,
        share: &Share,
    ) -> Result<Option<Result<Frame<Bytes>, B::Error>>, Failure> {
        loop {
            match timeout_at(self.window + WINDOW, body.frame()).await {
                Ok(frame) => return Ok(frame),
                Err(_) if !share.is_empty() && self.received < LEAST && share.is_waited_for() => {
                    return Err(Failure::Timeout(self.began.elapsed()));
                }
                Err(_) => (self.window, self.received) = (Instant::now(), 0),
            }
        }
    }
}

/// The beginning of an error's text.
fn beginning(text: &[u8]) -> String {
    let cut = &text[..text.len().min(MAX_ERROR_TEXT)];
    String::from_utf8_lossy(cut).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::fingerprint::Fingerprint;

    #[test]
    fn a_caller_gets_a_bounded_part_of_an_errors_text() {
        let text = beginning("é".repeat(MAX_ERROR_TEXT).as_bytes());
        assert!(text.len() <= MAX_ERROR_TEXT + 3 && text.starts_with('é'));
        assert_eq!(beginning(b" no \xff "), "no \u{fffd}");
    }

    fn share() -> Share {
        budget().share(Fingerprint::of(&[]))
    }

    /// A body of unknown length.
    fn large(bytes: usize) -> impl Body<Data = Bytes, Error = std::io::Error> + Unpin {
        let frames = [bytes / 2, bytes - bytes / 2].map(|length| Ok(Frame::data(Bytes::from(vec![b' '; length]))));
        StreamBody::new(futures::stream::iter(frames))
    }

    #[tokio::test]
    async fn an_identity_receives_no_more_than_its_part_and_others_beside_it() {
        let budget = budget();
        let shares = |name: &str| budget.share(Fingerprint::of(&[name]));
        let mut held = vec![shares("one"), shares("one")];
        for share in &mut held {
            collect(large(MAX_BYTES), MAX_BYTES, share).await.unwrap();
        }
        assert_eq!(budget.held(), LARGE_OF_IDENTITY);
        let mut third = shares("one");
        let mut waiting = std::pin::pin!(collect(large(SMALL + 1), MAX_BYTES, &mut third));
        assert!(futures::poll!(&mut waiting).is_pending());
        collect(large(SMALL), MAX_BYTES, &mut shares("one")).await.unwrap();
        collect(large(SMALL + 1), MAX_BYTES, &mut shares("other")).await.unwrap();
        held.pop();
        assert_eq!(waiting.await.map(|body| body.len()), Ok(SMALL + 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_response_gives_its_room_to_those_that_wait_and_goes_on_if_nobody_does() {
        // 80 KiB at once, then a byte a second.
        let slow = || {
            let first = futures::stream::iter([40 * 1024; 2]).map(|length| vec![b' '; length]);
            let drip = futures::stream::iter(0..20).then(async |_| {
                tokio::time::sleep(Duration::from_secs(1)).await;
                vec![b' ']
            });
            let bytes = first.chain(drip).map(|bytes| Ok::<_, std::io::Error>(Frame::data(Bytes::from(bytes))));
            Box::pin(StreamBody::new(bytes))
        };
        let budget = Budget::new(MAX_BYTES, MAX_BYTES);
        let shares = |name: &str| budget.share(Fingerprint::of(&[name]));
        assert!(collect(slow(), MAX_BYTES, &mut shares("one")).await.is_ok(), "nobody waits");
        let (mut one, mut other) = (shares("one"), shares("other"));
        let (given_up, waited) = tokio::join!(
            async {
                let result = collect(slow(), MAX_BYTES, &mut one).await;
                drop(one);
                result
            },
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                collect(large(SMALL + 1), MAX_BYTES, &mut other).await
            }
        );
        assert!(matches!(given_up, Err(Failure::Timeout(after)) if after <= WINDOW * 3), "{given_up:?}");
        assert_eq!((waited.map(|body| body.len()), budget.held()), (Ok(SMALL + 1), SMALL + 1));
    }

    #[tokio::test]
    async fn a_body_is_collected_up_to_its_bound() {
        let chunks = |chunks: &'static [&'static str]| {
            let frames =
                chunks.iter().map(|chunk| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(chunk.as_bytes()))));
            async { collect(StreamBody::new(futures::stream::iter(frames)), 4, &mut share()).await }
        };
        assert_eq!(chunks(&[]).await, Ok(Bytes::new()));
        assert_eq!(chunks(&["ab", "cd"]).await, Ok(Bytes::from_static(b"abcd")));
        assert_eq!(chunks(&["ab", "cde"]).await, Err(Failure::TooLarge));
        assert_eq!(collect(Full::new(Bytes::from_static(b"abcde")), 4, &mut share()).await, Err(Failure::TooLarge));
    }
}
