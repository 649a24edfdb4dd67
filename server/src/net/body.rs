use bytes::Bytes;
use hyper::body::Body;

use super::BodyBounds;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    /// Answer 413.
    #[error("the body is too large")]
    TooLarge,
    /// Answer 408.
    #[error("the body came too slowly")]
    TooSlow,
    /// Nobody is left to answer.
    #[error("the body broke off")]
    Broken,
}

/// Reads a whole body within its bounds.
///
/// # Errors
/// Too large (at once where the length is declared), too slow, or broken off.
pub async fn read_body<B>(body: B, bounds: &BodyBounds) -> Result<Bytes, BodyRefusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let _ = (body, bounds);
    unimplemented!()
}
