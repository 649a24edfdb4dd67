//! Named values that come beside a message, such as HTTP headers.
//!
//! The protocol and the credentials read them through [`RequestHeaders`], so that neither depends on a transport. Every one of them
//! may appear at most once: where a value appears twice, two readers could choose differently.

use http::HeaderName;

/// The named values that came with a message.
pub trait RequestHeaders: Sync {
    /// Looks up a header.
    fn get(&self, name: &HeaderName) -> Header<'_>;
}

/// What was sent under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header<'a> {
    Missing,
    Once(&'a [u8]),
    Repeated,
}

/// A header that cannot be read as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("it appears more than once")]
    Repeated,
    #[error("it contains bytes other than visible ASCII")]
    NotText,
}

impl<'a> Header<'a> {
    pub fn is_missing(self) -> bool {
        self == Self::Missing
    }

    /// The value as text; `None` if the header is missing.
    ///
    /// # Errors
    /// Returns an error if the header is repeated, or contains anything but visible ASCII, spaces and tabs.
    pub fn text(self) -> Result<Option<&'a str>, HeaderError> {
        match self {
            Self::Missing => Ok(None),
            Self::Repeated => Err(HeaderError::Repeated),
            Self::Once(bytes) if !bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) => {
                Err(HeaderError::NotText)
            }
            Self::Once(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| HeaderError::NotText),
        }
    }
}

/// Headers for tests: pairs of a lower-case name and a value.
#[cfg(test)]
pub struct Pairs<'a>(pub &'a [(&'a str, &'a str)]);

#[cfg(test)]
impl RequestHeaders for Pairs<'_> {
    fn get(&self, name: &HeaderName) -> Header<'_> {
        let mut values = self.0.iter().filter(|(found, _)| *found == name.as_str()).map(|(_, value)| value.as_bytes());
        match (values.next(), values.next()) {
            (None, _) => Header::Missing,
            (Some(value), None) => Header::Once(value),
            (Some(_), Some(_)) => Header::Repeated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_text_if_it_appears_once_and_is_visible_ascii() {
        let headers = Pairs(&[("one", "a b\t~"), ("two", "x"), ("two", "x"), ("accented", "é"), ("control", "a\n")]);
        for (name, expected) in [
            ("none", Ok(None)),
            ("one", Ok(Some("a b\t~"))),
            ("two", Err(HeaderError::Repeated)),
            ("accented", Err(HeaderError::NotText)),
            ("control", Err(HeaderError::NotText)),
        ] {
            assert_eq!(headers.get(&HeaderName::from_static(name)).text(), expected, "{name}");
        }
    }
}
