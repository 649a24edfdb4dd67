//! The body of a request: received whole, or not at all.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::Instant;

use super::{BodyBounds, OverBudget, Share};

/// Why a body was not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    #[error("the body is too large")]
    TooLarge,
    #[error("the body was received too slowly")]
    TooSlow,
    #[error("the body is malformed or incomplete")]
    Broken,
    #[error("this identity is sending too many bytes at once")]
    OverShare,
    #[error("too many bytes are being received at once")]
    Overloaded,
}

impl From<OverBudget> for BodyRefusal {
    fn from(over: OverBudget) -> Self {
        match over {
            OverBudget::OfIdentity => Self::OverShare,
            OverBudget::OfAll => Self::Overloaded,
        }
    }
}

/// Receives a whole body within its bounds. A body in one piece is not copied, and if it is available at once it sets no timer and
/// takes nothing from its `share`. While another one is waited for, `kept` bytes are kept beside it.
///
/// # Errors
/// Returns an error if the body is too large (at once if its length is declared), too slow or broken off, or if the budget has
/// too little left for it.
pub async fn read_body<B>(
    mut body: B,
    bounds: &BodyBounds,
    share: &mut Share,
    kept: impl Fn() -> usize,
) -> Result<Bytes, BodyRefusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > bounds.max as u64 {
        return Err(BodyRefusal::TooLarge);
    }
    let mut until = None;
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    loop {
        let received = first.len() + whole.len();
        let Some(frame) = next_frame(&mut body, bounds, &mut until, (received, &mut *share, &kept)).await? else {
            break;
        };
        let Ok(data) = frame.into_data() else { continue };
        if received + data.len() > bounds.max {
            return Err(BodyRefusal::TooLarge);
        }
        if received == 0 {
            first = data;
            continue;
        }
        if whole.is_empty() {
            let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(bounds.max);
            share.grow(received + data.len() + expected)?;
            whole.reserve(received + data.len() + expected);
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        share.grow(received + data.len())?;
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

async fn next_frame<B>(
    body: &mut B,
    bounds: &BodyBounds,
    until: &mut Option<Instant>,
    (received, share, kept): (usize, &mut Share, &impl Fn() -> usize),
) -> Result<Option<hyper::body::Frame<Bytes>>, BodyRefusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return Ok(None);
    }
    let mut frame = pin!(body.frame());
    let frame = match frame.as_mut().now_or_never() {
        Some(frame) => frame,
        None => {
            if until.is_none() || received > 0 {
                share.grow(received + kept())?;
            }
            // However little it is: two lost packets cost its sender three seconds (RFC 6298).
            let until = *until.get_or_insert_with(|| Instant::now() + bounds.within);
            tokio::time::timeout_at(until, frame).await.map_err(|_| BodyRefusal::TooSlow)?
        }
    };
    frame.transpose().map_err(|_| BodyRefusal::Broken)
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;
    use crate::fingerprint::Fingerprint;

    #[tokio::test(start_paused = true)]
    async fn a_body_may_pause_as_often_as_it_likes_within_its_time() {
        let bounds = BodyBounds { within: Duration::from_secs(10), ..BodyBounds::default() };
        for (pieces, pause, expected) in [
            (1, 9_900, Ok("x".into())),
            (3, 3_200, Ok("xxx".into())),
            (4, 3_200, Err(BodyRefusal::TooSlow)),
            (100, 200, Err(BodyRefusal::TooSlow)),
        ] {
            let sent = Box::pin(stream::unfold(0, async |sent| {
                if sent == pieces {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
                Some((Ok::<_, Infallible>(Frame::data(Bytes::from("x"))), sent + 1))
            }));
            let (budget, began) = (bounds.budget(), Instant::now());
            let mut share = budget.share(Fingerprint::of(&["one"]));
            let read = read_body(StreamBody::new(sent), &bounds, &mut share, || 0).await;
            assert_eq!(read, expected, "{pieces} after {pause} ms each");
            assert!(began.elapsed() <= bounds.within + Duration::from_millis(1));
        }
    }
}
