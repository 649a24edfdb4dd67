//! The headers of an HTTP request: what they say about it before its sender is identified and its body is read.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Request, header, uri::Authority};

use super::error::HttpRefusal;
use crate::{
    config::Snapshot,
    hash::HashSet,
    protocol::headers::{Header, RequestHeaders},
};

impl RequestHeaders for HeaderMap {
    fn get(&self, name: &HeaderName) -> Header<'_> {
        // Of most requests no header is repeated at all.
        let are_all_single = self.len() == self.keys_len();
        match HeaderMap::get(self, name) {
            None => Header::Missing,
            Some(value) if are_all_single || self.get_all(name).iter().nth(1).is_none() => {
                Header::Once(value.as_bytes())
            }
            Some(_) => Header::Repeated,
        }
    }
}

/// Refuses requests of web pages. Browsers send `Origin`, MCP clients do not, and no origin is allowed.
///
/// # Errors
/// Returns an error if the request has an `Origin`.
pub fn check_origin(headers: &HeaderMap) -> Result<(), HttpRefusal> {
    if headers.contains_key(header::ORIGIN) { Err(HttpRefusal::ForeignOrigin) } else { Ok(()) }
}

/// Checks that every name that the request is addressed to is a name of this server: one from the policy, or loopback.
/// Otherwise a web page could let its own name resolve to this server (DNS rebinding).
///
/// # Errors
/// Returns an error if one of the names is not, if there is none, or if there is more than one `Host`.
pub fn check_host<B>(request: &Request<B>, snapshot: &Snapshot) -> Result<(), HttpRefusal> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let header = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
        (None, _) => None,
        (Some(Ok(host)), None) => Some(host),
        (Some(_), _) => return Err(HttpRefusal::ForeignHost),
    };
    // The target of a request is absolute when a proxy is addressed, and `:authority` in HTTP/2.
    let target = request.uri().authority().map(Authority::as_str);
    let is_ours = |authority: &str| name(authority).is_some_and(|name| is_ours(name, &snapshot.hosts));
    match (header, target) {
        (None, None) => Err(HttpRefusal::ForeignHost),
        (header, target) if header.into_iter().chain(target).all(is_ours) => Ok(()),
        _ => Err(HttpRefusal::ForeignHost),
    }
}

/// The name of an authority, without its port; `None` if it has any other part.
fn name(authority: &str) -> Option<&str> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (name, port) = authority.split_at(end);
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    is_port.then(|| name.strip_suffix('.').unwrap_or(name))
}

fn is_ours(name: &str, hosts: &HashSet<String>) -> bool {
    if hosts.contains(name) {
        return true;
    }
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // An address has several spellings, and `hosts` has the shortest one.
        Some(bare) => bare.parse::<Ipv6Addr>().is_ok_and(|it| it.is_loopback() || hosts.contains(&format!("[{it}]"))),
        None => is_loopback(name) || hosts.contains(&name.to_ascii_lowercase()),
    }
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Checks that the body is JSON, and that the caller accepts JSON.
///
/// # Errors
/// Returns an error if the caller sends or accepts only something else.
pub fn check_media_types(headers: &HeaderMap) -> Result<(), HttpRefusal> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = types.next().and_then(|value| value.to_str().ok()).is_some_and(is_json);
    if !is_json || types.next().is_some() || is_encoded(headers) {
        return Err(HttpRefusal::UnsupportedMediaType);
    }
    if headers.contains_key(header::ACCEPT) && !accepts(headers, ["application/json", "application/*", "*/*"]) {
        return Err(HttpRefusal::NotAcceptable);
    }
    Ok(())
}

/// Whether the caller accepts server-sent events. It has to name them: a caller that accepts everything may not expect them.
pub fn accepts_events(headers: &HeaderMap) -> bool {
    accepts(headers, ["text/event-stream"])
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

/// What MCP clients send as `Accept`: both of what may be asked for (specification, Streamable HTTP, Sending Messages to the Server).
const USUAL: &str = "application/json, text/event-stream";

/// Whether `Accept` lists one of these media ranges, which are given from the most specific on, and the most specific of those that it
/// lists is not refused by a quality of zero (RFC 9110, section 12.5.1).
fn accepts<const N: usize>(headers: &HeaderMap, ranges: [&str; N]) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter();
    if values.next().is_some_and(|value| value == USUAL) && values.next().is_none() {
        return true;
    }
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let listed = accepts.flat_map(|accept| accept.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media_range = parts.next().unwrap_or_default();
        let rank = ranges.iter().position(|accepted| media_range.eq_ignore_ascii_case(accepted))?;
        let is_refused = parts.any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0)
        });
        Some((rank, is_refused))
    });
    listed.min().is_some_and(|(_, is_refused)| !is_refused)
}

/// Whether the body is coded in some way. `identity` says that it is not.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_server_is_addressed_by_its_own_names_and_by_loopback() {
        let hosts = HashSet::from_iter(["crm.sales.svc", "[fd12::1]", "[FD12:0::2]"].map(str::to_owned));
        let is_ours = |authority| name(authority).is_some_and(|name| is_ours(name, &hosts));
        for authority in [
            "crm.sales.svc",
            "crm.sales.svc:3000",
            "CRM.sales.svc.:3000",
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:3000",
            "[0:0::1]",
            "[fd12::1]:30080",
            "[FD12:0:0::1]",
            "[FD12:0::2]",
        ] {
            assert!(is_ours(authority), "{authority}");
        }
        for authority in [
            "",
            "crm",
            "crm.sales.svc.evil.example",
            "evil.example:3000",
            "localhost.evil.example",
            "10.0.0.1",
            "[::2]",
            "[::]",
            "[fd12::1%25eth0]",
            "[::1",
            "localhost:80@evil.example",
            "user@localhost",
            "localhost:80:80",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_ours(authority), "{authority}");
        }
    }

    #[test]
    fn a_header_of_http_is_read_if_it_appears_once() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("one", "a"), ("two", "b"), ("two", "b")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let headers: &dyn RequestHeaders = &headers;
        assert_eq!(
            ["one", "two", "none"].map(|name| headers.get(&HeaderName::from_static(name))),
            [Header::Once(b"a"), Header::Repeated, Header::Missing]
        );
    }

    #[test]
    fn json_must_be_sent_and_accepted() {
        let check = |headers: &[(&'static str, &'static str)]| {
            let mut request = Request::new(());
            for (name, value) in headers {
                request.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            check_media_types(request.headers())
        };
        let json = ("content-type", "application/json; charset=utf-8");
        assert_eq!(check(&[json]), Ok(()));
        assert_eq!(check(&[json, ("content-encoding", "Identity")]), Ok(()));
        for accept in [
            "*/*",
            "application/json",
            "text/event-stream, application/json;q=0.5",
            "Application/*",
            "application/json; charset=utf-8",
            "text/html, */*;q=0.1",
            "application/json, */*;q=0",
        ] {
            assert_eq!(check(&[json, ("accept", accept)]), Ok(()), "{accept}");
        }
        for accept in [
            "text/html",
            "text/event-stream",
            "application/json;q=0",
            "*/*, application/json; Q=0.000",
            "*/*, application/*;q=0",
            "application/json-rpc",
            "application/jsonx, json",
            "",
        ] {
            assert_eq!(check(&[json, ("accept", accept)]), Err(HttpRefusal::NotAcceptable), "{accept}");
        }
        let mut headers = HeaderMap::new();
        for (accept, expected) in [("*/*", false), ("application/json, Text/Event-Stream", true)] {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(accepts_events(&headers), expected, "{accept}");
        }
        for headers in
            [&[][..], &[("content-type", "text/plain")], &[json, ("content-encoding", "gzip")], &[json, json]]
        {
            assert_eq!(check(headers), Err(HttpRefusal::UnsupportedMediaType), "{headers:?}");
        }
    }
}
