//! What `tools/list` shows of a tool: its hints do not contradict each other, and its icons are what clients may load.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;

use crate::{
    Findings,
    contract::{Effect, Icon, Tool},
};

/// The most bytes of the `src` of all icons of a server: each list of tools contains them.
const MAX_ICON_BYTES: usize = 128 * 1024;

/// Checks the hints of a tool.
pub(super) fn annotations(tool: &Tool, at: &str, findings: &mut Findings) {
    let destroys = tool.annotations.is_some_and(|annotations| annotations.destructive_hint == Some(true));
    if destroys && tool.effect() == Effect::Read {
        findings.add(
            format!("{at}.annotations.destructiveHint"),
            "contradicts the tool's effect: what only reads destroys nothing; leave it out, or set `effect: Write`",
        );
    }
}

/// The icons that clients may load.
pub(super) fn icons(tool: &Tool, at: &str, findings: &mut Findings) -> Vec<Icon> {
    let mut allowed = Vec::with_capacity(tool.icons.len());
    for (n, icon) in tool.icons.iter().enumerate() {
        let at = format!("{at}.icons[{n}]");
        let mut refuse = |field: &str, message: &str| findings.add(format!("{at}.{field}"), message);
        let is_size =
            |size: &String| size == "any" || size.split_once('x').is_some_and(|(a, b)| is_number(a) && is_number(b));
        if !is_source(&icon.src) {
            refuse(
                "src",
                "must be an https:// URL without a user, or an image as a data: URI in base64, such as data:image/png;base64,…; a \
                 client must load nothing else",
            );
        } else if !icon.mime_type.as_deref().is_none_or(is_image) {
            refuse("mimeType", "must be the media type of an image, such as image/png");
        } else if !icon.sizes.iter().all(is_size) {
            refuse("sizes", "must be a width and a height such as 48x48, or any");
        } else {
            allowed.push(icon.clone());
        }
    }
    allowed
}

/// Checks the size of all icons together.
pub(super) fn all_icons(tools: &[Tool], findings: &mut Findings) {
    let bytes: usize = tools.iter().flat_map(|tool| &tool.icons).map(|icon| icon.src.len()).sum();
    if bytes > MAX_ICON_BYTES {
        let message =
            format!("their icons have {bytes} bytes; at most {MAX_ICON_BYTES} are allowed: use https:// URLs");
        findings.add("spec.tools", message);
    }
}

fn is_source(src: &str) -> bool {
    match src.strip_prefix("data:") {
        Some(data) => data
            .split_once(";base64,")
            .is_some_and(|(media, data)| is_image(media) && !data.is_empty() && BASE64_STANDARD.decode(data).is_ok()),
        None => src
            .parse::<Uri>()
            .is_ok_and(|uri| uri.scheme_str() == Some("https") && !src.contains('@') && uri.host().is_some()),
    }
}

fn is_image(media: &str) -> bool {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".+-".contains(c);
    media.strip_prefix("image/").is_some_and(|name| !name.is_empty() && name.chars().all(is_name))
}

fn is_number(text: &str) -> bool {
    (1..=5).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tool(more: &Value) -> Tool {
        let mut tool = json!({"name": "t", "description": "t", "backend": "b", "http": {"method": "GET", "path": "/"}});
        tool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(tool).unwrap()
    }

    #[test]
    fn only_icons_that_a_client_may_load_are_shown() {
        for (icon, refused) in [
            (
                json!({"src": "https://cdn.example/a.png?v=1", "mimeType": "image/png", "sizes": ["48x48", "any"], "theme": "Dark"}),
                None,
            ),
            (json!({"src": "data:image/svg+xml;base64,PHN2Zy8+"}), None),
            (json!({"src": "http://cdn.example/a.png"}), Some("src")),
            (json!({"src": "HTTPS://cdn.example/a.png"}), None),
            (json!({"src": "https://user@cdn.example/a.png"}), Some("src")),
            (json!({"src": "https://"}), Some("src")),
            (json!({"src": "//cdn.example/a.png"}), Some("src")),
            (json!({"src": "/a.png"}), Some("src")),
            (json!({"src": "javascript:alert(1)"}), Some("src")),
            (json!({"src": " javascript:alert(1)"}), Some("src")),
            (json!({"src": "file:///etc/passwd"}), Some("src")),
            (json!({"src": "ftp://cdn.example/a.png"}), Some("src")),
            (json!({"src": "ws://cdn.example/a.png"}), Some("src")),
            (json!({"src": "data:text/html;base64,PHA+"}), Some("src")),
            (json!({"src": "data:image/svg+xml,<svg/>"}), Some("src")),
            (json!({"src": "data:image/png;base64,a"}), Some("src")),
            (json!({"src": "data:image/png;base64,"}), Some("src")),
            (json!({"src": "https://a", "mimeType": "text/html"}), Some("mimeType")),
            (json!({"src": "https://a", "mimeType": "image/"}), Some("mimeType")),
            (json!({"src": "https://a", "sizes": ["48"]}), Some("sizes")),
            (json!({"src": "https://a", "sizes": ["any", "048x48"]}), Some("sizes")),
        ] {
            let mut findings = Findings::default();
            let allowed = icons(&tool(&json!({"icons": [icon]})), "t", &mut findings);
            let paths: Vec<_> = findings.0.iter().map(|finding| finding.path.as_str()).collect();
            let expected = refused.map(|field| format!("t.icons[0].{field}"));
            assert_eq!(
                (allowed.len(), paths),
                (usize::from(refused.is_none()), expected.iter().map(String::as_str).collect()),
                "{icon}"
            );
        }
    }

    #[test]
    fn the_icons_of_a_server_have_a_bound_together() {
        let src = format!("https://cdn.example/{}", "a".repeat(8_000));
        let tool = tool(&json!({"icons": [{"src": src}, {"src": src}, {"src": src}, {"src": src}]}));
        for (count, found) in [(4, 0), (5, 1)] {
            let mut findings = Findings::default();
            all_icons(&vec![tool.clone(); count], &mut findings);
            assert_eq!(findings.0.len(), found, "{count}");
        }
    }

    #[test]
    fn what_only_reads_is_not_destructive() {
        for (more, found) in [
            (json!({"annotations": {"destructiveHint": true}}), 1),
            (json!({"annotations": {"destructiveHint": false, "idempotentHint": true, "openWorldHint": false}}), 0),
            (json!({"annotations": {"destructiveHint": true}, "effect": "Write"}), 0),
            (json!({}), 0),
        ] {
            let mut findings = Findings::default();
            annotations(&tool(&more), "t", &mut findings);
            assert_eq!(findings.0.len(), found, "{more}");
        }
    }
}
