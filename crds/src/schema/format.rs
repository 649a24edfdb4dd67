//! The formats that are asserted. Each is decided in one pass over the text, after its RFC; those of internationalised names check
//! the characters and lengths only.

mod date;
mod name;
mod uri;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::pattern;

/// A value of `format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Date,
    DateTime,
    Duration,
    Email,
    Hostname,
    IdnEmail,
    IdnHostname,
    Ipv4,
    Ipv6,
    Iri,
    IriReference,
    JsonPointer,
    Regex,
    RelativeJsonPointer,
    Time,
    Uri,
    UriReference,
    UriTemplate,
    Uuid,
}

impl Format {
    /// `None` for a format that is not asserted.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "date" => Self::Date,
            "date-time" => Self::DateTime,
            "duration" => Self::Duration,
            "email" => Self::Email,
            "hostname" => Self::Hostname,
            "idn-email" => Self::IdnEmail,
            "idn-hostname" => Self::IdnHostname,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "iri" => Self::Iri,
            "iri-reference" => Self::IriReference,
            "json-pointer" => Self::JsonPointer,
            "regex" => Self::Regex,
            "relative-json-pointer" => Self::RelativeJsonPointer,
            "time" => Self::Time,
            "uri" => Self::Uri,
            "uri-reference" => Self::UriReference,
            "uri-template" => Self::UriTemplate,
            "uuid" => Self::Uuid,
            _ => return None,
        })
    }

    /// Its name, and a text that has it.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Date => ("date", "2026-01-31"),
            Self::DateTime => ("date-time", "2026-01-31T23:59:00Z"),
            Self::Duration => ("duration", "P1DT2H30M"),
            Self::Email => ("email", "ann@example.com"),
            Self::Hostname => ("hostname", "www.example.com"),
            Self::IdnEmail => ("idn-email", "ann@exämple.com"),
            Self::IdnHostname => ("idn-hostname", "exämple.com"),
            Self::Ipv4 => ("ipv4", "192.0.2.1"),
            Self::Ipv6 => ("ipv6", "2001:db8::1"),
            Self::Iri => ("iri", "https://example.com/ä"),
            Self::IriReference => ("iri-reference", "/ä"),
            Self::JsonPointer => ("json-pointer", "/items/0"),
            Self::Regex => ("regex", "^[a-z]+$"),
            Self::RelativeJsonPointer => ("relative-json-pointer", "1/items"),
            Self::Time => ("time", "23:59:00Z"),
            Self::Uri => ("uri", "https://example.com/a"),
            Self::UriReference => ("uri-reference", "/a"),
            Self::UriTemplate => ("uri-template", "/a/{id}"),
            Self::Uuid => ("uuid", "123e4567-e89b-12d3-a456-426614174000"),
        }
    }

    /// How many steps a byte takes, at most.
    pub fn steps(self) -> usize {
        // A syntax tree is made of a pattern.
        if self == Self::Regex { 16 } else { 1 }
    }

    pub fn is_valid(self, text: &str) -> bool {
        match self {
            Self::Date => date::is_date(text),
            Self::DateTime => date::is_date_time(text),
            Self::Duration => date::is_duration(text),
            Self::Email => name::is_email(text, name::Script::Ascii),
            Self::Hostname => name::is_hostname(text, name::Script::Ascii),
            Self::IdnEmail => name::is_email(text, name::Script::Any),
            Self::IdnHostname => name::is_hostname(text, name::Script::Any),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Iri => uri::is_reference(text, uri::Characters::Unicode) && uri::has_scheme(text),
            Self::IriReference => uri::is_reference(text, uri::Characters::Unicode),
            Self::JsonPointer => is_pointer(text),
            Self::Regex => pattern::is_pattern(text),
            Self::RelativeJsonPointer => is_relative_pointer(text),
            Self::Time => date::is_time(text),
            Self::Uri => uri::is_reference(text, uri::Characters::Ascii) && uri::has_scheme(text),
            Self::UriReference => uri::is_reference(text, uri::Characters::Ascii),
            Self::UriTemplate => uri::is_template(text),
            Self::Uuid => is_uuid(text),
        }
    }
}

/// RFC 6901.
fn is_pointer(text: &str) -> bool {
    let is_escaped = || text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    (text.is_empty() || text.starts_with('/')) && is_escaped()
}

fn is_relative_pointer(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    (number == "0" || (digits > 0 && !number.starts_with('0'))) && (rest == "#" || is_pointer(rest))
}

/// RFC 4122.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(n, b)| if matches!(n, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests;
