//! The URL of a backend.

use std::net::Ipv6Addr;

use http::Uri;

use crate::{Findings, contract::HttpBackend, template::PathTemplate};

/// Where a REST backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    /// Scheme, authority and base path, without a slash at the end. The path of each tool follows.
    pub base: String,
    /// The root of the host that connections are made to.
    pub origin: Uri,
    /// The URL of the health check. Without it a connection is opened and closed.
    pub health: Option<Uri>,
}

impl HttpTarget {
    /// # Errors
    /// Returns what is wrong with the URL or the health path.
    pub fn new(backend: &HttpBackend) -> Result<Self, Findings> {
        let mut findings = Findings::default();
        target(backend, "http", &mut findings).ok_or(findings)
    }
}

/// Checks a backend's URL and health path; `None` if there is a finding.
pub(super) fn target(backend: &HttpBackend, at: &str, findings: &mut Findings) -> Option<HttpTarget> {
    let base = base(&backend.url).map_err(|message| findings.add(format!("{at}.url"), message)).ok()?;
    let at_root = |path: &str| {
        let builder = Uri::builder().scheme(base.scheme_str().unwrap_or("http"));
        builder.authority(base.authority().map_or("", |authority| authority.as_str())).path_and_query(path).build()
    };
    match (at_root("/"), backend.health_path.as_deref().map(at_root).transpose()) {
        (Ok(origin), Ok(health)) => {
            Some(HttpTarget { base: backend.url.trim_end_matches('/').to_owned(), origin, health })
        }
        _ => {
            findings.add(
                format!("{at}.healthPath"),
                "must be a path, optionally with a query; percent-encode other characters",
            );
            None
        }
    }
}

/// The host of a URL at which a server is reached: in lower case, without a dot at its end; an address of IPv6 in brackets and in its
/// shortest form (RFC 5952), which most clients send.
///
/// # Errors
/// Returns what is wrong with the URL.
pub fn host(url: &str) -> Result<String, String> {
    let base = base(url)?;
    let host = base.host().unwrap_or_default();
    if let Some(address) = ipv6(host) {
        return Ok(format!("[{address}]"));
    }
    Ok(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
}

/// The URL of a token endpoint.
///
/// # Errors
/// Returns what is wrong with it.
pub(super) fn token_endpoint(url: &str) -> Result<Uri, String> {
    if url.contains(['{', '}']) {
        return Err("must not have braces: nothing is put in their place".into());
    }
    base(url)
}

fn base(url: &str) -> Result<Uri, String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or("must begin with http:// or https://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.is_empty()
        || rest.contains(['?', '#', '@', '\\'])
        || rest.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return Err("must be a host, optionally with a port and a path, and without a user, query or fragment".into());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    // A sign would be a number too.
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if port.is_some_and(|port| !is_port(port)) {
        return Err("the port must be a number from 1 to 65535".into());
    }
    if !is_host(host) {
        return Err("must name its host by a DNS name of ASCII letters, digits, '-', '_' and '.' (write others as punycode), by \
                    an IPv4 address, or by an IPv6 address in brackets"
            .into());
    }
    if !path.is_empty() {
        PathTemplate::parse(&format!("/{path}")).map_err(|error| format!("its path {error}"))?;
    }
    url.parse().map_err(|_| "is not a URL that HTTP clients accept".into())
}

/// The address of a host that is an address of IPv6 in brackets.
fn ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether a host can be resolved, and a certificate can name it.
fn is_host(host: &str) -> bool {
    if host.starts_with('[') {
        return ipv6(host).is_some();
    }
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| is_inner(b) || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name with a dot at its end is not searched for in other domains.
    let name = host.strip_suffix('.').unwrap_or(host);
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str, health_path: Option<&str>) -> Result<HttpTarget, String> {
        let backend = HttpBackend { url: url.into(), health_path: health_path.map(Into::into) };
        HttpTarget::new(&backend).map_err(|findings| findings.to_string())
    }

    #[test]
    fn the_host_of_a_url_is_what_requests_name() {
        for (url, expected) in [
            ("https://CRM.example.com./mcp", Some("crm.example.com")),
            ("http://10.0.0.1:30080", Some("10.0.0.1")),
            ("https://[fd12::1]:8443/mcp", Some("[fd12::1]")),
            ("https://[FD12:0:0::0:1]", Some("[fd12::1]")),
            ("https://[::ffff:10.0.0.1]/mcp", Some("[::ffff:10.0.0.1]")),
            ("https://crm.example.com/mcp?x", None),
            ("https://*.example.com", None),
            ("crm.example.com", None),
        ] {
            assert_eq!(host(url).ok().as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_url_is_accepted_only_if_requests_can_be_made_of_it() {
        let target = checked("https://crm.example.com:8443/api/", Some("/healthz?deep=1")).unwrap();
        assert_eq!(target.base, "https://crm.example.com:8443/api");
        assert_eq!(target.origin.to_string(), "https://crm.example.com:8443/");
        assert_eq!(target.health.unwrap().to_string(), "https://crm.example.com:8443/healthz?deep=1");
        assert_eq!(checked("https://[fd12::1]/v1", None).unwrap().health, None);
        for url in ["http://a.svc.cluster.local.:80", "http://A_b.example/", "http://10.0.0.1:8080"] {
            assert!(checked(url, None).is_ok(), "{url}");
        }
        for (url, health_path, finding) in [
            ("ftp://a", None, "http.url: must begin with"),
            ("http://", None, "http.url: must be a host"),
            ("http://user@a", None, "http.url: must be a host"),
            ("http://a:99999", None, "http.url: the port must be"),
            ("http://a/../b", None, "http.url: its path has a segment"),
            ("http://a^b", None, "http.url: must name its host"),
            ("http://{host}", None, "http.url: must name its host"),
            ("http://ünï.example", None, "http.url: must name its host"),
            ("http://:80", None, "http.url: must name its host"),
            ("http://:[::1]", None, "http.url: must name its host"),
            ("http://[::1", None, "http.url: must name its host"),
            ("http://[::1]]", None, "http.url: must name its host"),
            ("http://[fe80::1%25eth0]", None, "http.url: must name its host"),
            ("http://a..b", None, "http.url: must name its host"),
            ("http://-a", None, "http.url: must name its host"),
            ("http://a:", None, "http.url: the port must be"),
            ("http://a:+80", None, "http.url: the port must be"),
            ("http://a:0", None, "http.url: the port must be"),
            ("http://a%20b", None, "http.url: must name its host"),
            ("http://a", Some("/a b"), "http.healthPath: must be a path"),
        ] {
            let found = checked(url, health_path).unwrap_err();
            assert!(found.starts_with(finding), "{url}: {found}");
        }
    }
}
