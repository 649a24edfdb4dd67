//! The members of a tool's result that all revisions share. What a revision adds around them is left to the caller.

use super::json::push_string;

/// The content of a tool's result.
#[derive(Clone, Copy, Debug)]
pub struct ToolResult<'a> {
    pub text: &'a str,
    /// A sentence of this server for the model, after the text.
    pub note: Option<&'a str>,
    /// JSON without needless white space. Anything but an object is wrapped in one: revisions before 2026-07-28 require an object.
    pub structured: Option<&'a str>,
    pub is_error: bool,
}

impl ToolResult<'_> {
    /// `"content":…,"structuredContent":…,"isError":…`, without braces around it.
    pub fn members(&self) -> String {
        let mut out = String::with_capacity(96 + self.text.len() * 2 + self.structured.map_or(0, str::len));
        out.push_str(r#""content":[{"type":"text","text":"#);
        push_string(&mut out, self.text);
        if let Some(note) = self.note {
            out.push_str(r#"},{"type":"text","text":"#);
            push_string(&mut out, note);
        }
        out.push_str("}]");
        match self.structured {
            Some(object) if object.starts_with('{') => {
                out.push_str(r#","structuredContent":"#);
                out.push_str(object);
            }
            Some(other) => {
                out.push_str(r#","structuredContent":{"result":"#);
                out.push_str(other);
                out.push('}');
            }
            None => {}
        }
        out.push_str(if self.is_error { r#","isError":true"# } else { r#","isError":false"# });
        out
    }
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
}
