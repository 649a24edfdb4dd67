//! What can be said of a request before anybody looks at who sent it, or at its body.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, Ipv6Addr},
};

use http::{HeaderMap, HeaderValue, header, request::Parts, uri::Authority};

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
    let header = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
        (None, _) => None,
        (Some(Ok(host)), None) => Some(host),
        (Some(_), _) => return Err(Refusal::ForeignHost),
    };
    // An absolute target or HTTP/2's `:authority`; both are what the request is for.
    let target = parts.uri.authority().map(Authority::as_str);
    let is_ours = |authority: &str| name(authority).is_some_and(|name| is_ours(name, &snapshot.hosts));
    match (header, target) {
        (None, None) => Err(Refusal::ForeignHost),
        (header, target) if header.into_iter().chain(target).all(is_ours) => Ok(()),
        _ => Err(Refusal::ForeignHost),
    }
}

/// The name of an authority, without its port; `None` where it is not just the two.
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
    hosts.contains(name) || is_loopback(name) || hosts.contains(&name.to_ascii_lowercase())
}

fn is_loopback(name: &str) -> bool {
    if let Some(bare) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return bare.parse() == Ok(Ipv6Addr::LOCALHOST);
    }
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
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

fn admits_json(accept: &HeaderValue) -> bool {
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
    fn a_server_answers_to_its_own_names_and_to_loopback() {
        let hosts = HashSet::from(["crm.sales.svc".to_owned()]);
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
