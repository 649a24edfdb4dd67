//! The members of a tool's result that all revisions share. What a revision adds around them is left to the caller.

use super::json::{array, object, push_string};

/// A result that this server makes of JSON or text.
#[derive(Clone, Copy, Debug)]
pub struct ToolResult<'a> {
    pub text: &'a str,
    /// A sentence of this server for the model, after the text.
    pub note: Option<&'a str>,
    /// JSON without needless white space. Anything but an object is wrapped in one: revisions before 2026-07-28 require an object.
    pub structured: Option<&'a str>,
    pub is_error: bool,
}

/// A result that another MCP server made, passed on as it is.
#[derive(Clone, Copy, Debug)]
pub struct PassedResult<'a> {
    /// The content blocks: a JSON array.
    pub content: &'a str,
    /// A JSON object.
    pub structured: Option<&'a str>,
    pub is_error: bool,
}

impl ToolResult<'_> {
    /// `"content":…,"structuredContent":…,"isError":…`, without braces around it.
    pub fn members(&self) -> String {
        let mut out = String::with_capacity(112 + self.text.len() * 2 + self.structured.map_or(0, str::len));
        out.push_str(r#""content":"#);
        let mut content = array(&mut out);
        for text in [Some(self.text), self.note].into_iter().flatten() {
            let block = content.item();
            block.push_str(r#"{"type":"text","text":"#);
            push_string(block, text);
            block.push('}');
        }
        content.close();
        if let Some(structured) = self.structured {
            out.push_str(STRUCTURED);
            if structured.starts_with('{') {
                out.push_str(structured);
            } else {
                let mut wrapper = object(&mut out);
                wrapper.member("result").push_str(structured);
                wrapper.close();
            }
        }
        out.push_str(is_error(self.is_error));
        out
    }
}

impl PassedResult<'_> {
    /// As [`ToolResult::members`].
    pub fn members(&self) -> String {
        let content = [r#""content":"#, self.content];
        let structured = self.structured.map(|structured| [STRUCTURED, structured]);
        let parts: Vec<&str> =
            content.into_iter().chain(structured.into_iter().flatten()).chain([is_error(self.is_error)]).collect();
        parts.concat()
    }
}

const STRUCTURED: &str = r#","structuredContent":"#;

fn is_error(is_error: bool) -> &'static str {
    if is_error { r#","isError":true"# } else { r#","isError":false"# }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structured_content_is_always_an_object() {
        let members = |text, note, structured, is_error| ToolResult { text, note, structured, is_error }.members();
        assert_eq!(
            members("{\"a\":1}", None, Some("{\"a\":1}"), false),
            r#""content":[{"type":"text","text":"{\"a\":1}"}],"structuredContent":{"a":1},"isError":false"#
        );
        assert_eq!(
            members("[1]", Some("cut"), Some("[1]"), false),
            r#""content":[{"type":"text","text":"[1]"},{"type":"text","text":"cut"}],"structuredContent":{"result":[1]},"isError":false"#
        );
        assert_eq!(members("no", None, None, true), r#""content":[{"type":"text","text":"no"}],"isError":true"#);
    }

    #[test]
    fn a_result_of_another_server_is_passed_on() {
        let members = |structured, is_error| PassedResult { content: "[{}]", structured, is_error }.members();
        assert_eq!(members(Some("{\"a\":1}"), false), r#""content":[{}],"structuredContent":{"a":1},"isError":false"#);
        assert_eq!(members(None, true), r#""content":[{}],"isError":true"#);
    }
}
