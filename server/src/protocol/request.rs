//! A request as every transport hands it on: the message, its era, and what the transport carries beside it.

use super::{
    era::{self, Era, Version},
    headers::{Header, RequestHeaders},
    message::Message,
    refusal::Refusal,
    strict,
};

/// The transport's side of a request.
pub trait Carrier: Sync {
    /// The headers that came with the message.
    fn headers(&self) -> &dyn RequestHeaders;

    /// The id of the session that the request claims to belong to.
    fn session(&self) -> Header<'_>;

    /// Whether the caller can receive other messages before the response to its request.
    fn accepts_stream(&self) -> bool;
}

/// A message, ready to be dispatched.
pub struct Request<'a> {
    pub era: Era,
    pub message: Message<'a>,
    pub carrier: &'a dyn Carrier,
}

/// A body that is not a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable<'a> {
    /// The id of the request, if it could be read.
    pub id: Option<&'a str>,
    pub refusal: Refusal,
}

impl<'a> Request<'a> {
    /// Reads a message. `agreed` is the revision of the session that it belongs to.
    ///
    /// # Errors
    /// Returns an error if the body is not one message of MCP, if its version is not served, or if the headers or the session contradict it.
    pub fn read(body: &'a [u8], carrier: &'a dyn Carrier, agreed: Option<Version>) -> Result<Self, Unreadable<'a>> {
        let node = strict::parse(body).map_err(|refusal| Unreadable { id: None, refusal: Refusal::Json(refusal) })?;
        let message = Message::read(node)
            .map_err(|malformed| Unreadable { id: malformed.id, refusal: Refusal::Malformed(malformed.why) })?;
        let era =
            era::of(&message, carrier.headers(), agreed).map_err(|refusal| Unreadable { id: message.id, refusal })?;
        Ok(Self { era, message, carrier })
    }
}
