//! Bodies of the type `multipart/form-data` (RFC 7578).

use std::fmt::Write;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use portcullis_crds::{check::PartTemplate, template::Template};

use super::{scalar_argument, unsendable};
use crate::{
    backend::{
        kind::Unsendable,
        text::{argument, render as text, scalar},
    },
    fingerprint::Fingerprint,
    protocol::strict::{Json, Node},
};

/// The alphabet of RFC 4648 section 4, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The boundary, and the body. The boundary is made of everything that is between boundaries, as it was sent, so that no argument
/// contains it.
///
/// # Errors
/// Returns an error if an argument is nothing that a part can have.
pub fn render(parts: &[PartTemplate], arguments: &Node<'_>) -> Result<(String, Vec<u8>), Unsendable> {
    let mut rendered = Vec::new();
    for part in parts {
        let head = head(part, arguments);
        for value in values(&part.value, arguments)? {
            rendered.push((part, head.clone(), value));
        }
    }
    let texts: Vec<&str> = rendered.iter().flat_map(|(_, head, value)| [head.as_str(), value.as_str()]).collect();
    let boundary = hex::encode(Fingerprint::of(&texts).as_bytes());
    let mut body = Vec::new();
    for (part, head, value) in &rendered {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n").as_bytes());
        match part.value.as_argument().filter(|_| part.is_base64) {
            Some(name) => {
                let not_base64 =
                    |_| unsendable(name, "must be base64 (RFC 4648, A-Z, a-z, 0-9, + and /, without line breaks)");
                BASE64.decode_vec(value, &mut body).map_err(not_base64)?;
            }
            None => body.extend_from_slice(value.as_bytes()),
        }
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((boundary, body))
}

fn head(part: &PartTemplate, arguments: &Node<'_>) -> String {
    let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quotable(&part.name));
    if let Some(filename) = part.filename.as_ref().and_then(|filename| text(filename, arguments)) {
        let _ = write!(head, "; filename=\"{}\"", quotable(&filename));
    }
    if let Some(content_type) = &part.content_type {
        let _ = write!(head, "\r\nContent-Type: {content_type}");
    }
    head + "\r\n"
}

/// The values of the parts that a template becomes: one for each item of a list, and none if an argument is absent.
fn values(template: &Template, arguments: &Node<'_>) -> Result<Vec<String>, Unsendable> {
    if let Some(name) = template.as_argument()
        && let Some(items) = argument(arguments, name).and_then(Node::as_array)
    {
        let items = items
            .iter()
            .filter(|item| item.value != Json::Null)
            .map(|item| scalar(item).map(Into::into).ok_or_else(|| unsendable(name, "must be a list of plain values")));
        return items.collect();
    }
    let Some(value) = text(template, arguments) else { return Ok(Vec::new()) };
    for name in template.arguments() {
        scalar_argument(name, arguments)?;
    }
    Ok(vec![value])
}

/// A text between quotes, with what would end it percent-encoded, as browsers do.
fn quotable(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(quoted, "%{:02X}", u32::from(character));
            }
            other => quoted.push(other),
        }
    }
    quoted
}
