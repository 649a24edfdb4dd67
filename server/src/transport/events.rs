//! JSON-RPC messages as server-sent events (HTML Living Standard, section 9.2).

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Response, header};

use crate::{
    mcp::Messages,
    net::{AtStop, LiveStream, ResponseBody, Share, StreamBounds},
};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// A comment, which means nothing to the client.
const KEEP_ALIVE: &[u8] = b":\n\n";

/// A response that streams messages. `slot` is its place among the open streams.
pub fn respond(messages: Messages, at_stop: AtStop, bounds: &StreamBounds, slot: Share) -> Response<ResponseBody> {
    let events = messages.map(|message| event(&message)).boxed();
    let stream = LiveStream::new(events, KEEP_ALIVE, at_stop, bounds);
    let mut response = Response::new(ResponseBody::stream(stream, slot));
    response.headers_mut().insert(header::CONTENT_TYPE, EVENT_STREAM);
    response.headers_mut().insert(header::CACHE_CONTROL, NO_CACHE);
    response
}

/// One message as an event. A line break ends a field of an event; in JSON it can only be white space between two tokens.
fn event(message: &[u8]) -> Bytes {
    let mut event = Vec::with_capacity(message.len() + 32);
    event.extend_from_slice(b"event: message\n");
    for line in message.split(|byte| matches!(byte, b'\n' | b'\r')) {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.push(b'\n');
    }
    event.push(b'\n');
    event.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_event_whatever_its_white_space() {
        assert_eq!(event(b"{}"), "event: message\ndata: {}\n\n");
        assert_eq!(event(b"{\n}"), "event: message\ndata: {\ndata: }\n\n");
    }
}
