//! The members of a tool's result that all revisions share. What a revision adds around them is left to the caller.

use super::{
    excerpt::Excerpt,
    json::{Buffer, array, push_string},
};

/// A result that this server makes of JSON or text.
#[derive(Clone, Copy, Debug)]
pub struct ToolResult<'a> {
    pub text: Text<'a>,
    /// A sentence of this server for the model, after the text.
    pub note: Option<&'a str>,
    /// Anything but an object is wrapped in one: revisions before 2026-07-28 require an object.
    pub structured: Option<Excerpt<'a>>,
    pub is_error: bool,
}

/// The text of a result.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    Plain(&'a str),
    Json(Excerpt<'a>),
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

impl<'a> ToolResult<'a> {
    /// A result that is only a text.
    pub fn of_text(text: &'a str, is_error: bool) -> Self {
        Self { text: Text::Plain(text), note: None, structured: None, is_error }
    }

    /// Appends `"content":…,"structuredContent":…,"isError":…`, without braces around it.
    pub fn push<B: Buffer>(&self, out: &mut B) {
        out.push_text(r#""content":"#);
        let mut content = array(out);
        for text in [Some(self.text), self.note.map(Text::Plain)].into_iter().flatten() {
            let block = content.item();
            block.push_text(r#"{"type":"text","text":"#);
            match text {
                Text::Plain(text) => push_string(block, text),
                Text::Json(json) => json.push_as_string(block),
            }
            block.push_text("}");
        }
        content.close();
        if let Some(structured) = self.structured {
            out.push_text(STRUCTURED);
            structured.push_as_object(out);
        }
        out.push_text(is_error(self.is_error));
    }

    /// The same, by itself.
    pub fn members(&self) -> String {
        let mut out = String::new();
        self.push(&mut out);
        out
    }
}

impl PassedResult<'_> {
    /// As [`ToolResult::push`].
    pub fn push<B: Buffer>(&self, out: &mut B) {
        out.push_text(r#""content":"#);
        out.push_text(self.content);
        if let Some(structured) = self.structured {
            out.push_text(STRUCTURED);
            out.push_text(structured);
        }
        out.push_text(is_error(self.is_error));
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
        let members = |text, note, structured: Option<&'static str>, is_error| {
            ToolResult { text: Text::Plain(text), note, structured: structured.map(Excerpt::whole), is_error }.members()
        };
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
        let members = |structured, is_error| {
            let mut out = String::new();
            PassedResult { content: "[{}]", structured, is_error }.push(&mut out);
            out
        };
        assert_eq!(members(Some("{\"a\":1}"), false), r#""content":[{}],"structuredContent":{"a":1},"isError":false"#);
        assert_eq!(members(None, true), r#""content":[{}],"isError":true"#);
    }
}
