//! What the headers of a response say about its body, and the text of an error for a reader.

use http::{HeaderMap, header};

/// What a body is, as far as its media type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    Html,
    Text,
    /// There is none, or it may be anything.
    Unknown,
}

impl Media {
    pub fn of(headers: &HeaderMap) -> Self {
        let media = content_type(headers).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_like = |suffix| media.ends_with(suffix);
        match media.as_str() {
            "application/json" | "text/json" => Self::Json,
            "text/html" | "application/xhtml+xml" => Self::Html,
            "application/xml"
            | "application/yaml"
            | "application/x-yaml"
            | "application/x-ndjson"
            | "application/jsonl" => Self::Text,
            _ if is_like("+json") => Self::Json,
            _ if is_like("+xml") || is_like("+yaml") || media.starts_with("text/") => Self::Text,
            _ => Self::Unknown,
        }
    }
}

/// The parameter `charset` of the media type.
pub fn charset(headers: &HeaderMap) -> Option<&str> {
    content_type(headers).split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The beginning of an error's text, of at most `max` bytes; of a web page only what a reader sees of it.
pub fn readable(text: &[u8], media: Media, max: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start();
    let is_page = media == Media::Html || ["<!doctype html", "<html"].iter().any(|tag| begins(text, tag));
    let text = if is_page { visible(text, max) } else { text.to_owned() };
    text[..text.floor_char_boundary(max)].trim().to_owned()
}

/// The beginning of the text between the tags of a page, with its white space collapsed: all of it, or more than `max` bytes.
fn visible(page: &str, max: usize) -> String {
    let mut words = String::new();
    let mut rest = page;
    while words.len() <= max
        && let Some((text, tag)) = rest.split_once('<')
    {
        push_words(&mut words, text, max);
        let hidden = ["script", "style", "svg"].into_iter().find(|name| begins(tag, name));
        let end = match hidden {
            Some(name) => tag
                .match_indices("</")
                .find(|(at, _)| begins(&tag[at + 2..], name))
                .map_or("", |(at, _)| &tag[at + 2..]),
            None if tag.starts_with("!--") => {
                tag.split_once("--").and_then(|(_, tag)| tag.split_once("--")).map_or("", |(_, tag)| tag)
            }
            None => tag,
        };
        rest = end.split_once('>').map_or("", |(_, rest)| rest);
    }
    push_words(&mut words, rest, max);
    words
}

fn push_words(words: &mut String, text: &str, max: usize) {
    for word in text.split_whitespace() {
        if words.len() > max {
            return;
        }
        if !words.is_empty() {
            words.push(' ');
        }
        let mut word = word.to_owned();
        for (entity, character) in
            [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
        {
            word = word.replace(entity, character);
        }
        words.push_str(&word);
    }
}

/// Whether a text begins so, whatever the case of its letters.
fn begins(text: &str, with: &str) -> bool {
    text.get(..with.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(with))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_media_type_says_whether_a_body_is_json_or_text() {
        for (content_type, media, label) in [
            ("application/json", Media::Json, None),
            ("Application/Problem+JSON ; Charset=\"UTF-8\"", Media::Json, Some("UTF-8")),
            ("text/html;charset=latin1", Media::Html, Some("latin1")),
            ("text/csv; header=present; charset=windows-1252", Media::Text, Some("windows-1252")),
            ("application/atom+xml", Media::Text, None),
            ("image/png", Media::Unknown, None),
            ("", Media::Unknown, None),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!((Media::of(&headers), charset(&headers)), (media, label), "{content_type}");
        }
    }

    #[test]
    fn a_caller_gets_the_beginning_of_an_error_as_a_reader_sees_it() {
        let page = "<!DOCTYPE html>\n<html><head><title>502 Bad  Gateway</title><STYLE>p {color: red}</STYLE>\
            <script>if (a < b) { c() }</script></head><body><!-- a > b --><p>It&#39;s down &amp;\n out.</p><br/>Try later";
        for (text, media, shown) in [
            (page, Media::Html, "502 Bad Gateway It's down & out. Try later"),
            (page, Media::Unknown, "502 Bad Gateway It's down & out. Try later"),
            (" a < b\n ", Media::Text, "a < b"),
            ("<error>1</error>", Media::Text, "<error>1</error>"),
            (r#"{"title":"No"}"#, Media::Json, r#"{"title":"No"}"#),
            ("<html><p>unfinished <scr", Media::Html, "unfinished"),
            ("<html><script>x", Media::Html, ""),
        ] {
            assert_eq!(readable(text.as_bytes(), media, 1_000), shown, "{text}");
        }
        assert_eq!(readable("éé".as_bytes(), Media::Text, 3), "é");
        for text in ["a ".repeat(100), "<p>a</p>".repeat(100)] {
            assert_eq!(readable(text.as_bytes(), Media::Html, 5), "a a a");
        }
    }
}
