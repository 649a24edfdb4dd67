//! URIs (RFC 3986), IRIs (RFC 3987) and templates of URIs (RFC 6570).

use std::net::Ipv6Addr;

/// Which characters may appear without being percent-encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Characters {
    Ascii,
    Unicode,
}

/// The characters that RFC 3986 names `sub-delims`.
const DELIMITERS: &str = "!$&'()*+,;=";

/// Whether a URI begins with a scheme.
pub(super) fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Whether a text is a URI or a relative reference.
pub(super) fn is_reference(text: &str, characters: Characters) -> bool {
    let (rest, fragment) = split(text, '#');
    let (mut rest, query) = split(rest, '?');
    if !is_text(fragment, "/?:@", characters) || !is_text(query, "/?:@", characters) {
        return false;
    }
    if let Some((scheme, after)) = rest.split_once(':')
        && !scheme.contains('/')
    {
        // The first segment of a relative path has no colon.
        if !is_scheme(scheme) {
            return false;
        }
        rest = after;
    }
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if !is_authority(authority, characters) {
                return false;
            }
            path
        }
        None => rest,
    };
    is_text(path, "/:@", characters)
}

fn is_authority(text: &str, characters: Characters) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (host, ""),
    };
    let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok() || is_future_address(literal),
        None => is_text(host, "", characters),
    };
    is_text(user, ":", characters) && is_host && port.bytes().all(|b| b.is_ascii_digit())
}

/// `IPvFuture` of RFC 3986.
fn is_future_address(text: &str) -> bool {
    let Some((version, address)) = text.strip_prefix(['v', 'V']).and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    let is_version = !version.is_empty() && version.bytes().all(|b| b.is_ascii_hexdigit());
    is_version && !address.is_empty() && !address.contains('%') && is_text(address, ":", Characters::Ascii)
}

fn split(text: &str, separator: char) -> (&str, &str) {
    text.split_once(separator).unwrap_or((text, ""))
}

/// Unreserved characters, delimiters, those in `more`, and percent-encoded bytes.
fn is_text(text: &str, more: &str, characters: Characters) -> bool {
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let is_allowed = match c {
            '%' => (0..2).all(|_| rest.next().is_some_and(|c| c.is_ascii_hexdigit())),
            _ if c.is_ascii() => {
                c.is_ascii_alphanumeric() || "-._~".contains(c) || DELIMITERS.contains(c) || more.contains(c)
            }
            // Private use and control characters are left out.
            _ => {
                characters == Characters::Unicode
                    && matches!(c, '\u{a0}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{ffef}'
                        | '\u{10000}'..='\u{efffd}')
            }
        };
        if !is_allowed {
            return false;
        }
    }
    true
}

pub(super) fn is_template(text: &str) -> bool {
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((expression, after)) = after.split_once('}') else { return false };
        if !is_literal(literal) || !is_expression(expression) {
            return false;
        }
        rest = after;
    }
    is_literal(rest)
}

fn is_literal(text: &str) -> bool {
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let is_allowed = match c {
            '%' => (0..2).all(|_| rest.next().is_some_and(|c| c.is_ascii_hexdigit())),
            _ => c > ' ' && !c.is_control() && !"\"'<>\\^`{|}".contains(c),
        };
        if !is_allowed {
            return false;
        }
    }
    true
}

fn is_expression(text: &str) -> bool {
    let variables = text.strip_prefix(['+', '#', '.', '/', ';', '?', '&', '=', ',', '!', '@', '|']).unwrap_or(text);
    variables.split(',').all(|variable| {
        let name = match variable.split_once(':') {
            Some((name, length)) => {
                let is_length = (1..=4).contains(&length.len()) && length.bytes().all(|b| b.is_ascii_digit());
                if !is_length || length.starts_with('0') {
                    return false;
                }
                name
            }
            None => variable.strip_suffix('*').unwrap_or(variable),
        };
        is_variable_name(name)
    })
}

fn is_variable_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut rest = part.chars();
        let mut is_empty = true;
        while let Some(c) = rest.next() {
            is_empty = false;
            let is_allowed = match c {
                '%' => (0..2).all(|_| rest.next().is_some_and(|c| c.is_ascii_hexdigit())),
                _ => c.is_ascii_alphanumeric() || c == '_',
            };
            if !is_allowed {
                return false;
            }
        }
        !is_empty
    })
}
