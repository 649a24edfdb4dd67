//! `call`: calls one tool of a server, as an agent does, and prints what came back.
//!
//! A call is made again only if it certainly had no effect: no connection, or a refusal that may pass, such as while a key is being
//! published. The key is in a file, and never printed.

use std::{fs, io, path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout};

/// The header with the key.
const KEY: &str = "x-api-key";
/// The longest that a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest that one call may take: more than any tool.
const CALL: Duration = Duration::from_secs(330);
/// The pause before a call is made again.
const AGAIN: Duration = Duration::from_millis(500);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;

#[derive(clap::Args)]
pub struct Options {
    /// The MCP endpoint of the server, such as http://crm.sales.svc:3000/mcp
    #[arg(value_name = "URL", value_parser = endpoint)]
    url: Uri,
    /// The name of the tool
    #[arg(value_name = "TOOL")]
    tool: String,
    /// The arguments of the tool, as a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = arguments)]
    arguments: Map<String, Value>,
    /// The file with the API key. Without it the call has no credential
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// For how long a call is made again that could not connect or was refused with 401, 403, 429 or 503
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    within: Duration,
    /// Succeed if the call is refused with this HTTP status, and only then
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(400..600))]
    refused_with: Option<u16>,
}

/// Why a call is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading the key in {}: {source}", file.display())]
    Key { file: PathBuf, source: io::Error },
    #[error("the key in {} is not one: it must be one line of visible ASCII characters", file.display())]
    NotAKey { file: PathBuf },
    #[error("{0}")]
    Failed(String),
}

/// What an attempt came to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    AsExpected(String),
    /// It had no effect, and the next one may be another.
    Passing(String),
    Final(String),
}

/// Calls the tool. Returns what came back.
///
/// # Errors
/// Returns an error if the key cannot be read, or the answer is not the expected one.
pub async fn call(options: Options) -> Result<String, Error> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    // On a connection of its own each time: one that was kept stays with one of the Service's pods.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let end = Instant::now() + options.within;
    loop {
        // Each time: the file of a mounted Secret follows the key.
        let key = options.key_file.as_ref().map(key).transpose()?;
        let why = match attempt(&client, &options, key.as_ref()).await {
            Verdict::AsExpected(answer) => return Ok(format!("{}: {answer}\n", described(&options))),
            Verdict::Final(why) => return Err(Error::Failed(format!("{}: {why}", described(&options)))),
            Verdict::Passing(why) => why,
        };
        if Instant::now() >= end {
            return Err(Error::Failed(format!("{}: {why}", described(&options))));
        }
        sleep(AGAIN).await;
    }
}

fn described(Options { url, tool, key_file, .. }: &Options) -> String {
    let key =
        key_file.as_ref().map_or_else(|| "without a key".to_owned(), |it| format!("with the key in {}", it.display()));
    format!("{tool} of {url} {key}")
}

async fn attempt(client: &Client<HttpConnector, Full<Bytes>>, options: &Options, key: Option<&HeaderValue>) -> Verdict {
    let Options { url, tool, arguments, refused_with, .. } = options;
    let message = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments},
    });
    let mut request = Request::new(Full::new(Bytes::from(message.to_string())));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = url.clone();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    if let Some(key) = key {
        headers.insert(KEY, key.clone());
    }
    let answered = async {
        let response = client.request(request).await.map_err(not_sent)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| Verdict::Final(format!("HTTP {}, and then: {error}", status.as_u16())))?;
        Ok(verdict(status, &body.to_bytes(), *refused_with))
    };
    match timeout(CALL, answered).await {
        Ok(Ok(verdict) | Err(verdict)) => verdict,
        Err(_) => Verdict::Final(format!("no answer within {CALL:?}")),
    }
}

/// A call that may have been received is not made again: it may have had its effect.
fn not_sent(error: ClientError) -> Verdict {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match error.is_connect() {
        true => Verdict::Passing(format!("no connection: {cause}")),
        false => Verdict::Final(format!("no answer: {cause}")),
    }
}

fn verdict(status: StatusCode, body: &[u8], refused_with: Option<u16>) -> Verdict {
    let text = format!("HTTP {}: {}", status.as_u16(), String::from_utf8_lossy(body).trim());
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let result = answer.get("result").filter(|_| status == StatusCode::OK);
    let is_refusal_that_may_pass = matches!(status.as_u16(), 401 | 403 | 429 | 503);
    match (refused_with, result) {
        (Some(expected), _) if status.as_u16() == expected => Verdict::AsExpected(text),
        (Some(expected), _) if is_refusal_that_may_pass => Verdict::Passing(format!("{text} instead of {expected}")),
        (Some(expected), _) => Verdict::Final(format!("{text} instead of a refusal with {expected}")),
        (None, Some(result)) if result["isError"] != true => Verdict::AsExpected(text),
        (None, Some(_)) => Verdict::Final(text),
        (None, None) if is_refusal_that_may_pass => Verdict::Passing(text),
        (None, None) => Verdict::Final(text),
    }
}

fn key(file: &PathBuf) -> Result<HeaderValue, Error> {
    let text = fs::read_to_string(file).map_err(|source| Error::Key { file: file.clone(), source })?;
    let mut key = HeaderValue::from_str(text.trim_end()).map_err(|_| Error::NotAKey { file: file.clone() })?;
    key.set_sensitive(true);
    Ok(key)
}

fn endpoint(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    match url.scheme_str() {
        Some("http") => Ok(url),
        _ => Err("must begin with http://".to_owned()),
    }
}

fn arguments(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: portcullis_crds::Duration = text.parse().map_err(|error| format!("{error}"))?;
    Ok(duration.to_std())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_expected_or_repeated_only_if_it_had_no_effect() {
        let result = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
        let failed = r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true,"content":[]}}"#;
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"unknown tool"}}"#;
        // The verdict without and with `--refused-with 401`.
        let cases = [
            (200, result, "expected", "final"),
            (200, failed, "final", "final"),
            (200, error, "final", "final"),
            (200, "", "final", "final"),
            (202, result, "final", "final"),
            (400, error, "final", "final"),
            (401, error, "passing", "expected"),
            (403, "", "passing", "passing"),
            (429, "", "passing", "passing"),
            (500, "", "final", "final"),
            (503, "no", "passing", "passing"),
        ];
        for (status, body, plain, refused) in cases {
            let words = [None, Some(401)].map(|refused_with| {
                match verdict(StatusCode::from_u16(status).unwrap(), body.as_bytes(), refused_with) {
                    Verdict::AsExpected(_) => "expected",
                    Verdict::Passing(_) => "passing",
                    Verdict::Final(_) => "final",
                }
            });
            assert_eq!(words, [plain, refused], "{status} {body}");
        }
    }
}
