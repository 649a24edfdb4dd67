//! What can be said of a request before anybody looks at who sent it, or at its body.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, header, request::Parts, uri::Authority};

use crate::{config::Snapshot, protocol::error::Refusal};

/// Whether a web page sent it: browsers say so, MCP clients don't, and none is let in.
pub fn is_foreign_origin(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN)
}

/// A request is for this server if every name that it is addressed by is: those of the policy, and loopback. Otherwise a web page
/// could have its own name resolve to this server.
///
/// # Errors
/// Where one of them is not, or there is none, or more than one `Host`.
pub fn host(parts: &Parts, snapshot: &Snapshot) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::ForeignHost);
    }
    let header = match first {
        Some(host) => {
            let host = host.to_str().map_err(|_| Refusal::ForeignHost)?;
            Some(host.parse::<Authority>().map_err(|_| Refusal::ForeignHost)?)
        }
        None => None,
    };
    let target = parts.uri.authority();
    if header.is_none() && target.is_none() {
        return Err(Refusal::ForeignHost);
    }
    if header.iter().chain(target).all(|authority| is_ours(authority, snapshot)) {
        Ok(())
    } else {
        Err(Refusal::ForeignHost)
    }
}

fn is_ours(authority: &Authority, snapshot: &Snapshot) -> bool {
    let host = authority.host();
    let host = host.strip_suffix('.').unwrap_or(host);
    if authority.as_str().contains('@') {
        return false;
    }
    is_loopback(host) || snapshot.hosts.contains(host) || snapshot.hosts.contains(&host.to_ascii_lowercase())
}

fn is_loopback(host: &str) -> bool {
    if let Some(bare) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return bare.parse() == Ok(Ipv6Addr::LOCALHOST);
    }
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The body is JSON, and so is the answer.
///
/// # Errors
/// Where the caller sends something else, or does not want it.
pub fn media_types(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = types.next().and_then(|value| value.to_str().ok()).is_some_and(is_json);
    if !is_json || types.next().is_some() || headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::UnsupportedMediaType);
    }
    if headers.contains_key(header::ACCEPT) && !headers.get_all(header::ACCEPT).iter().any(admits_json) {
        return Err(Refusal::NotAcceptable);
    }
    Ok(())
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

fn admits_json(accept: &http::HeaderValue) -> bool {
    let Ok(accept) = accept.to_str() else { return false };
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media_range = parts.next().unwrap_or_default();
        let is_refused = parts.any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            name.trim().eq_ignore_ascii_case("q") && value.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0)
        });
        !is_refused
            && ["application/json", "application/*", "*/*"].iter().any(|json| media_range.eq_ignore_ascii_case(json))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    #[test]
    fn loopback_has_many_names() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.example", "10.0.0.1", "[::2]", "127.0.0.1.evil.example"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn json_is_sent_and_wanted() {
        let check = |headers: &[(&'static str, &'static str)]| {
            let mut request = Request::new(());
            for (name, value) in headers {
                request.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            media_types(request.headers())
        };
        let json = ("content-type", "application/json; charset=utf-8");
        assert_eq!(check(&[json]), Ok(()));
        for accept in ["*/*", "application/json", "text/event-stream, application/json;q=0.5", "Application/*"] {
            assert_eq!(check(&[json, ("accept", accept)]), Ok(()), "{accept}");
        }
        for accept in ["text/html", "text/event-stream", "application/json;q=0", ""] {
            assert_eq!(check(&[json, ("accept", accept)]), Err(Refusal::NotAcceptable), "{accept}");
        }
        for headers in
            [&[][..], &[("content-type", "text/plain")], &[json, ("content-encoding", "gzip")], &[json, json]]
        {
            assert_eq!(check(headers), Err(Refusal::UnsupportedMediaType), "{headers:?}");
        }
    }
}
