//! Takes the values of Secrets out of what a backend says about an error: some services repeat the headers of a request in it.

use std::{borrow::Cow, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

/// In place of a value.
const REDACTED: &str = "[redacted]";
/// A value of fewer bytes is no secret, and would take words out of the text that only look like it.
const SHORTEST: usize = 4;

/// The values that were sent with a call.
#[derive(Clone, Default)]
pub struct Redaction(Arc<[Arc<SecretString>]>);

impl Redaction {
    pub fn new(secrets: Vec<Arc<SecretString>>) -> Self {
        Self(secrets.into())
    }

    /// The text without the values, in whatever way they are written, and without the beginning of one at the end of a text that was
    /// cut off there.
    pub fn apply<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        let mut text = text;
        let mut forms: Vec<String> = self.0.iter().flat_map(|secret| forms(secret.expose_secret())).collect();
        // One value may be a part of another one.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        for form in &forms {
            if text.contains(form.as_str()) {
                text = text.replace(form.as_str(), REDACTED).into();
            }
        }
        for form in &forms {
            let cut = (SHORTEST..form.len()).rev().find(|length| text.ends_with(&form[..*length]));
            if let Some(length) = cut {
                let mut kept = text.into_owned();
                kept.truncate(kept.len() - length);
                kept.push_str(REDACTED);
                text = kept.into();
            }
        }
        text
    }
}

/// A value as it is, and as it is written in JSON, in HTML and in a URL. It has visible characters of ASCII only.
fn forms(secret: &str) -> Vec<String> {
    if secret.len() < SHORTEST {
        return Vec::new();
    }
    let json = secret.replace('\\', "\\\\").replace('"', "\\\"");
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quoted = html.replace('"', "&quot;").replace('\'', "&#39;");
    let url = secret.bytes().map(|b| match b {
        b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    });
    let url: String = url.collect();
    let mut forms = vec![secret.to_owned(), json.replace('/', "\\/"), json, html, quoted, url];
    forms.sort();
    forms.dedup();
    forms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redaction(secrets: &[&str]) -> Redaction {
        Redaction::new(secrets.iter().map(|secret| Arc::new(SecretString::from(*secret))).collect())
    }

    #[test]
    fn values_are_taken_out_however_they_are_written() {
        let redaction = redaction(&["s3cr3t\"/<&", "s3cr3t", "abc"]);
        for (text, expected) in [
            ("nothing", "nothing"),
            ("Bearer s3cr3t!", "Bearer [redacted]!"),
            ("{\"h\":\"s3cr3t\\\"/<&\"}", "{\"h\":\"[redacted]\"}"),
            ("<p>s3cr3t&quot;/&lt;&amp;</p>", "<p>[redacted]</p>"),
            ("?t=s3cr3t%22%2F%3C%26", "?t=[redacted]"),
            ("cut off: s3cr", "cut off: [redacted]"),
            ("abc is too short", "abc is too short"),
        ] {
            assert_eq!(redaction.apply(text.into()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_is_left_in_a_text(secret in "[ -~]{4,40}", before in "[ -~]{0,20}", after in "[ -~]{0,20}") {
            prop_assume!(!REDACTED.contains(&secret));
            let redacted = redaction(&[&secret]).apply(format!("{before}{secret}{after}").into()).into_owned();
            // What is left beside the mark may be the value only if the mark is a part of it.
            prop_assert!(redacted.split(REDACTED).all(|part| !part.contains(&secret)), "{}", redacted);
        }
    }
}
