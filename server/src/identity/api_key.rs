//! API keys, in the header `x-api-key`.
//!
//! Keys are 256 random bits, so their SHA-256 is all that is kept, and looking the digest up by hash gives a guesser nothing: the
//! time it takes depends on the digest, which cannot be steered towards a known one.

use http::{HeaderMap, header};
use portcullis_crds::credentials::KeyDigest;

const API_KEY: &str = "x-api-key";

/// What a request presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    Nothing,
    /// The digest of one key.
    Key(KeyDigest),
    /// Several credentials, or one twice: which of them counts would be a guess.
    Ambiguous,
}

/// Reads a request's credential.
pub fn presented(headers: &HeaderMap) -> Presented {
    let mut keys = headers.get_all(API_KEY).iter();
    let mut others = headers.get_all(header::AUTHORIZATION).iter();
    match (keys.next(), keys.next(), others.next(), others.next()) {
        (_, Some(_), _, _) | (_, _, _, Some(_)) | (Some(_), _, Some(_), _) => Presented::Ambiguous,
        (Some(key), None, None, None) if !key.is_empty() => Presented::Key(KeyDigest::of(key.as_bytes())),
        // No method that reads `Authorization` is offered: it is as if nothing had been sent.
        (_, None, _, None) => Presented::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn one_key_counts_and_several_credentials_are_ambiguous() {
        for (sent, expected) in [
            (&[][..], Presented::Nothing),
            (&[("x-api-key", "k")], Presented::Key(KeyDigest::of(b"k"))),
            (&[("x-api-key", "")], Presented::Nothing),
            (&[("authorization", "Bearer t")], Presented::Nothing),
            (&[("x-api-key", "k"), ("x-api-key", "k")], Presented::Ambiguous),
            (&[("x-api-key", "k"), ("authorization", "Bearer t")], Presented::Ambiguous),
            (&[("authorization", "Bearer t"), ("authorization", "Bearer t")], Presented::Ambiguous),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in sent {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(presented(&headers), expected, "{sent:?}");
        }
    }
}
