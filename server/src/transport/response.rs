//! Responses that are the same for every endpoint.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::net::ResponseBody;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A response with a JSON body.
pub fn json(status: StatusCode, body: Bytes) -> Response<ResponseBody> {
    json_pieces(status, vec![body])
}

/// The same, of pieces.
pub fn json_pieces(status: StatusCode, pieces: Vec<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::pieces(pieces));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A response with a body of plain text.
pub fn text(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// A response without a body.
pub fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(Bytes::new()));
    *response.status_mut() = status;
    response
}
