//! HTTP/1.1 by hand: a request is sent byte for byte as a test wrote it, and a response is read without a library that would
//! correct it. There is no proxy, no pool and no retry.

mod connection;
pub(crate) mod message;

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

pub use connection::Connection;

use crate::Error;

/// A request, to be changed before it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// In the order in which they are sent. `Content-Length` is not one of them: [`Request::bytes`] adds it.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A response as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// With names in lower case, in the order in which they were received.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A POST with the headers that every MCP client sends.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        let request = Self { method: "POST".into(), target: target.into(), headers: Vec::new(), body: body.into() };
        request
            .with("Host", "localhost")
            .with("Content-Type", "application/json")
            .with("Accept", "application/json, text/event-stream")
    }

    pub fn get(target: &str) -> Self {
        let request = Self { method: "GET".into(), target: target.into(), headers: Vec::new(), body: Vec::new() };
        request.with("Host", "localhost")
    }

    /// Adds a header, even if there is one with that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Removes every header with that name.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces every header with that name by one with this value.
    pub fn replacing(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    /// What is sent.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// What is sent before the body.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = self.headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
        });
        if !has_length && (!self.body.is_empty() || self.method == "POST") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

impl Response {
    /// The value of the first header with that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        message::header(&self.headers, name)
    }

    /// The body as JSON without the id of a call, or as a JSON string if it is not JSON, so that an assertion can show it.
    pub fn json(&self) -> Value {
        foreseen(serde_json::from_slice(&self.body).unwrap_or_else(|_| Value::from(self.text())))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Everything that a test can foresee as one value: the status, the headers except `date` and `content-length`, the body.
    pub fn to_value(&self) -> Value {
        let foreseen = |name: &str| name != "date" && name != "content-length";
        let headers = self.headers.iter().filter(|(name, _)| foreseen(name));
        let headers: Map<String, Value> =
            headers.map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        json!({"status": self.status, "headers": headers, "body": self.json()})
    }
}

/// A response without the id of its call, which differs from call to call; and without `_meta`, if there is nothing else in it.
pub fn foreseen(mut response: Value) -> Value {
    if let Some(Value::Object(result)) = response.get_mut("result")
        && let Some(Value::Object(meta)) = result.get_mut("_meta")
        && meta.remove("portcullis.dev/executionId").is_some()
        && meta.is_empty()
    {
        result.remove("_meta");
    }
    response
}

/// Sends a request on a connection of its own.
///
/// # Errors
/// Returns an error if there is no complete response.
pub async fn send(address: SocketAddr, request: &Request) -> Result<Response, Error> {
    Connection::open(address).await?.send(request).await
}
