//! Arguments in the text of a tool: `{name}` stands for an argument, `{{` and `}}` for a brace.
//!
//! A template is parsed once, here, and the server fills it in. Its literal text, such as the structure of a path or the names in a
//! query, is fixed by that: no argument can change it.

use std::collections::BTreeMap;

use serde_json::Value;

/// Literal text and arguments, alternately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Literal(String),
    Argument(String),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("has an unbalanced brace; write {{{{ or }}}} for a literal brace")]
    UnbalancedBrace,
    #[error("has an empty {{}}; write the name of an argument between the braces")]
    EmptyName,
    #[error("must begin with /")]
    NoLeadingSlash,
    #[error("has a segment '.' or '..'; write the resulting path")]
    DotSegment,
    #[error("has an empty segment; write a single / between two segments")]
    EmptySegment,
    #[error("has a character that is not allowed in a path; percent-encode it")]
    NotAPathCharacter,
}

impl Template {
    /// # Errors
    /// Returns an error if a brace is unbalanced, or if the name of an argument is empty.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '{' | '}' if characters.peek() == Some(&character) => {
                    characters.next();
                    literal.push(character);
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match characters.next() {
                            Some('}') => break,
                            Some('{') | None => return Err(TemplateError::UnbalancedBrace),
                            Some(other) => name.push(other),
                        }
                    }
                    if name.is_empty() {
                        return Err(TemplateError::EmptyName);
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Argument(name));
                }
                '}' => return Err(TemplateError::UnbalancedBrace),
                other => literal.push(other),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The argument, if the whole template is a single one.
    pub fn as_argument(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Argument(name)] => Some(name),
            _ => None,
        }
    }

    /// The names of its arguments, in order, with repetitions.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Argument(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }
}

/// A path with a fixed number of segments: an argument fills a segment or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    segments: Vec<Template>,
}

impl PathTemplate {
    /// # Errors
    /// Returns an error if the path does not begin with `/`, if a segment other than the last is empty, if a segment is `.` or
    /// `..`, or if the literal text has a character that RFC 3986 section 3.3 does not allow in a path.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let rest = text.strip_prefix('/').ok_or(TemplateError::NoLeadingSlash)?;
        let texts: Vec<&str> = rest.split('/').collect();
        let mut segments = Vec::with_capacity(texts.len());
        for (n, text) in texts.iter().enumerate() {
            match *text {
                "." | ".." => return Err(TemplateError::DotSegment),
                "" if n + 1 < texts.len() => return Err(TemplateError::EmptySegment),
                _ => {}
            }
            let segment = Template::parse(text)?;
            for part in segment.parts() {
                if matches!(part, Part::Literal(literal) if !is_path_text(literal)) {
                    return Err(TemplateError::NotAPathCharacter);
                }
            }
            segments.push(segment);
        }
        Ok(Self { segments })
    }

    /// The segments, without their slashes.
    pub fn segments(&self) -> &[Template] {
        &self.segments
    }

    /// The names of its arguments.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().flat_map(Template::arguments)
    }
}

/// Whether a text consists of `pchar` (RFC 3986): unreserved, percent-encoded, sub-delims, `:` and `@`. Encoded dots, slashes and
/// NUL are not allowed.
fn is_path_text(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let allowed = match byte {
            b'%' => {
                let pair = [bytes.next(), bytes.next()];
                let digits = pair.map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
                matches!(digits, [Some(high), Some(low)] if !matches!(high * 16 + low, 0x2e | 0x2f | 0x5c | 0))
            }
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte),
        };
        if !allowed {
            return false;
        }
    }
    true
}

/// A JSON value in which strings are templates.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonTemplate {
    /// `{name}` alone: the argument's own value, of any type. Its property or item is left out if the argument is absent.
    Argument(String),
    /// Text with arguments in it.
    Text(Template),
    /// A value without arguments.
    Value(Value),
    Array(Vec<JsonTemplate>),
    Object(BTreeMap<String, JsonTemplate>),
}

impl JsonTemplate {
    /// # Errors
    /// Returns an error if a string in it is not a template.
    pub fn parse(value: &Value) -> Result<Self, TemplateError> {
        Ok(match value {
            Value::String(text) => {
                let template = Template::parse(text)?;
                match template.parts() {
                    [Part::Argument(name)] => Self::Argument(name.clone()),
                    [Part::Literal(literal)] => Self::Value(literal.clone().into()),
                    [] => Self::Value("".into()),
                    _ => Self::Text(template),
                }
            }
            Value::Array(items) => Self::Array(items.iter().map(Self::parse).collect::<Result<_, _>>()?),
            Value::Object(map) => Self::Object(
                map.iter().map(|(key, value)| Ok((key.clone(), Self::parse(value)?))).collect::<Result<_, _>>()?,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Value(value.clone()),
        })
    }

    /// The names of its arguments.
    pub fn arguments(&self) -> Vec<&str> {
        match self {
            Self::Argument(name) => vec![name],
            Self::Text(template) => template.arguments().collect(),
            Self::Value(_) => Vec::new(),
            Self::Array(items) => items.iter().flat_map(Self::arguments).collect(),
            Self::Object(map) => map.values().flat_map(Self::arguments).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn literal(text: &str) -> Part {
        Part::Literal(text.into())
    }

    fn argument(name: &str) -> Part {
        Part::Argument(name.into())
    }

    #[test]
    fn a_template_is_literal_text_and_arguments() {
        for (text, parts) in [
            ("", Ok(vec![])),
            ("plain", Ok(vec![literal("plain")])),
            ("{a}", Ok(vec![argument("a")])),
            ("x{a}{b}y", Ok(vec![literal("x"), argument("a"), argument("b"), literal("y")])),
            ("{{a}} {b}", Ok(vec![literal("{a} "), argument("b")])),
            ("{", Err(TemplateError::UnbalancedBrace)),
            ("a}", Err(TemplateError::UnbalancedBrace)),
            ("{a{b}", Err(TemplateError::UnbalancedBrace)),
            ("{}", Err(TemplateError::EmptyName)),
        ] {
            assert_eq!(Template::parse(text).map(|t| t.parts), parts, "{text}");
        }
    }

    #[test]
    fn the_structure_of_a_path_is_fixed() {
        let path = PathTemplate::parse("/contacts/{id}/notes").unwrap();
        assert_eq!((path.segments().len(), path.arguments().collect::<Vec<_>>()), (3, vec!["id"]));
        assert!(PathTemplate::parse("/").is_ok());
        for (text, error) in [
            ("contacts", TemplateError::NoLeadingSlash),
            ("/a/../b", TemplateError::DotSegment),
            ("/a//b", TemplateError::EmptySegment),
            ("/a?b", TemplateError::NotAPathCharacter),
            ("/a b", TemplateError::NotAPathCharacter),
            ("/%2e%2e/{x}", TemplateError::NotAPathCharacter),
            ("/{x", TemplateError::UnbalancedBrace),
        ] {
            assert_eq!(PathTemplate::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_body_takes_values_of_any_type() {
        let body = JsonTemplate::parse(&json!({"text": "{text}", "by": "agent {who}", "n": [1, "{{x}}"]})).unwrap();
        assert_eq!(body.arguments(), vec!["who", "text"]);
        let JsonTemplate::Object(map) = &body else { panic!("an object stays one") };
        assert_eq!(map["text"], JsonTemplate::Argument("text".into()));
        assert_eq!(
            map["n"],
            JsonTemplate::Array(vec![JsonTemplate::Value(json!(1)), JsonTemplate::Value(json!("{x}")),])
        );
    }
}
