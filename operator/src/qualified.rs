//! Qualified names, as Kubernetes has them in keys of labels and in names of resources: `name` or `prefix.example.com/name`.

use portcullis_crds::name::ObjectName;

/// The message of a finding.
pub const QUALIFIED: &str = "must be at most 63 of the characters A-Z, a-z, 0-9, '-', '_', '.', with a letter or digit at both ends; a \
                             DNS subdomain and / may come before it";

pub fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => prefix.parse::<ObjectName>().is_ok() && is_word(name),
        None => is_word(text),
    }
}

/// Whether a text is the last part of a qualified name. The value of a label is one or empty.
pub fn is_word(text: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && is_edge(bytes.first())
        && is_edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
