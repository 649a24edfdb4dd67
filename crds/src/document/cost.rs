//! How long the YAML reader takes for a text, counted before it reads it.
//!
//! For each token the reader looks at every flow collection that is open, so that a text of brackets would take it minutes. Brackets in
//! scalars and comments cost nothing. So this finds the tokens as the reader's scanner does (libyaml, `scanner.c`), without their
//! values. Where the text is not YAML both may differ, because the reader stops there.

use super::yaml::SyntaxError;

/// The longest that a text may take to be read, in steps of the reader: a third of a second.
const MAX_STEPS: usize = 500_000_000;
pub(super) const TOO_SLOW: &str =
    "has too many open brackets, so that it would take too long to be read; close them, or put them in quotes";

/// Refuses a text that would take too long to be read.
///
/// # Errors
/// Returns the place up to which reading it may take.
pub(super) fn check_steps(text: &str) -> Result<(), SyntaxError> {
    let (mut scanner, mut steps) = (Scanner::new(text), 0_usize);
    while scanner.token().is_some() {
        steps += scanner.depth;
        if steps > MAX_STEPS {
            return Err(scanner.error(scanner.at - 1, TOO_SLOW));
        }
    }
    Ok(())
}

/// Refuses the one escape of YAML 1.2 that kubectl does not know.
///
/// # Errors
/// Returns the place of the first one.
pub(super) fn check_escapes(text: &str) -> Result<(), SyntaxError> {
    let mut scanner = Scanner::new(text);
    while scanner.token().is_some() {}
    scanner.slash.map_or(Ok(()), |at| Err(scanner.error(at, "kubectl does not know the escape \\/ in YAML; write /")))
}

/// Finds the tokens of a text.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the current line begins.
    line: usize,
    /// How many flow collections are open.
    depth: usize,
    /// The columns of the block collections that are open.
    indents: Vec<usize>,
    /// The column of what is the key if a colon follows in this line; outside of flow collections.
    key: Option<usize>,
    /// The first slash that is escaped in double quotes.
    slash: Option<usize>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes();
        Self { text, at: 0, line: 0, depth: 0, indents: Vec::new(), key: None, slash: None }
    }

    fn error(&self, at: usize, message: &str) -> SyntaxError {
        let before = &self.text[..at];
        let line = before.iter().filter(|it| **it == b'\n').count() + 1;
        let line_start = before.iter().rposition(|it| *it == b'\n').map_or(0, |end| end + 1);
        SyntaxError { line, column: at - line_start + 1, message: message.to_owned() }
    }

    /// Skips a token, and returns its first byte; `None` at the end.
    fn token(&mut self) -> Option<u8> {
        self.skip_space();
        let (first, column, is_flow) = (*self.text.get(self.at)?, self.column(), self.depth > 0);
        if !is_flow {
            self.indents.truncate(self.indents.partition_point(|indent| *indent <= column));
        }
        let is_indicator = self.is_blank(self.at + 1);
        match first {
            b'%' if column == 0 => self.skip_line(),
            b'-' | b'.' if self.is_marker() => {
                self.indents.clear();
                self.at += 3;
            }
            b'[' | b'{' => {
                self.begin_key(column);
                self.depth += 1;
                self.at += 1;
            }
            b']' | b'}' => {
                self.depth = self.depth.saturating_sub(1);
                self.at += 1;
            }
            b',' => self.at += 1,
            b'-' if is_indicator => self.block_entry(column),
            b'?' if is_indicator || is_flow => self.block_entry(column),
            b':' if is_indicator || is_flow => self.block_entry(self.key.unwrap_or(column)),
            b'|' | b'>' if !is_flow => self.block_scalar(),
            b'\'' | b'"' => self.quoted(first),
            b'&' | b'*' => {
                self.begin_key(column);
                self.at += 1;
                self.skip_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
            }
            b'!' => {
                self.begin_key(column);
                let is_verbatim = self.text.get(self.at + 1) == Some(&b'<');
                self.skip_while(|byte| match is_verbatim {
                    true => byte != b'>',
                    false => !byte.is_ascii_whitespace() && !is_flow_indicator(byte),
                });
                self.skip(usize::from(is_verbatim));
            }
            _ => self.plain(),
        }
        Some(first)
    }

    fn column(&self) -> usize {
        self.at - self.line
    }

    /// How many bytes of a line break are here.
    fn line_break(&self, at: usize) -> usize {
        match self.text.get(at..).unwrap_or_default() {
            [b'\n' | b'\r', ..] => 1,
            [0xc2, 0x85, ..] => 2,
            [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
            _ => 0,
        }
    }

    /// Whether a space or a line break is here, or the end.
    fn is_blank(&self, at: usize) -> bool {
        self.text.get(at).is_none_or(|byte| matches!(byte, b' ' | b'\t')) || self.line_break(at) > 0
    }

    /// Whether a document begins or ends here.
    fn is_marker(&self) -> bool {
        let is_named = ["---", "..."].iter().any(|marker| self.text[self.at..].starts_with(marker.as_bytes()));
        self.column() == 0 && is_named && self.is_blank(self.at + 3)
    }

    fn skip(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.text.len());
    }

    fn skip_while(&mut self, is_part: impl Fn(u8) -> bool) {
        self.at += self.text[self.at..].iter().take_while(|byte| is_part(**byte)).count();
    }

    /// Skips to the end of the line.
    fn skip_line(&mut self) {
        while self.at < self.text.len() && self.line_break(self.at) == 0 {
            self.at += 1;
        }
    }

    /// Skips a line break; whether there was one.
    fn skip_break(&mut self) -> bool {
        let length = self.line_break(self.at);
        if length > 0 {
            self.at += length;
            self.line = self.at;
            self.key = self.key.filter(|_| self.depth > 0);
        }
        length > 0
    }

    /// Skips to the next token.
    fn skip_space(&mut self) {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'#') => self.skip_line(),
                // A byte order mark is one character.
                Some(0xef) if self.column() == 0 && self.text[self.at..].starts_with("\u{feff}".as_bytes()) => {
                    self.at += 3;
                    self.line += 2;
                }
                _ if self.skip_break() => {}
                _ => return,
            }
        }
    }

    fn begin_key(&mut self, column: usize) {
        if self.depth == 0 {
            self.key.get_or_insert(column);
        }
    }

    /// An indicator, which begins a block collection if it is further right than the last one.
    fn block_entry(&mut self, column: usize) {
        if self.depth == 0 {
            if self.indents.last().is_none_or(|indent| *indent < column) {
                self.indents.push(column);
            }
            self.key = None;
        }
        self.at += 1;
    }

    fn quoted(&mut self, quote: u8) {
        self.begin_key(self.column());
        self.at += 1;
        while let Some(byte) = self.text.get(self.at).copied() {
            let is_escape = if quote == b'"' { byte == b'\\' } else { self.text[self.at..].starts_with(b"''") };
            if is_escape {
                if self.text[self.at..].starts_with(b"\\/") {
                    self.slash.get_or_insert(self.at);
                }
                self.skip(2);
            } else if !self.skip_break() {
                self.at += 1;
                if byte == quote {
                    return;
                }
            }
        }
    }

    fn plain(&mut self) {
        self.begin_key(self.column());
        let (indent, is_flow) = (self.indents.last().map_or(0, |indent| indent + 1), self.depth > 0);
        loop {
            while !self.is_blank(self.at) {
                let byte = self.text[self.at];
                if byte == b':' && self.is_blank(self.at + 1) || is_flow && is_flow_indicator(byte) {
                    return;
                }
                self.at += 1;
            }
            let is_same_line = loop {
                self.skip_while(|byte| matches!(byte, b' ' | b'\t'));
                if !self.skip_break() {
                    break self.column() > 0;
                }
            };
            let is_over = self.text.get(self.at).is_none_or(|byte| *byte == b'#') || !is_same_line && self.is_marker();
            if is_over || !is_flow && self.column() < indent {
                return;
            }
        }
    }

    fn block_scalar(&mut self) {
        self.at += 1;
        let header = self.text[self.at..].iter().take(2).take_while(|byte| matches!(byte, b'+' | b'-' | b'1'..=b'9'));
        let stated = header.filter(|byte| byte.is_ascii_digit()).map(|byte| usize::from(byte - b'0')).next();
        let parent = self.indents.last().copied();
        let mut indent = stated.map(|stated| parent.unwrap_or(0) + stated);
        let mut longest = parent.map_or(1, |parent| parent + 1);
        self.skip_line();
        while self.skip_break() {
            while indent.is_none_or(|indent| self.column() < indent) && self.text.get(self.at) == Some(&b' ') {
                self.at += 1;
            }
            longest = longest.max(self.column());
            if self.line_break(self.at) == 0 {
                if self.column() < *indent.get_or_insert(longest) {
                    return;
                }
                self.skip_line();
            }
        }
    }
}

fn is_flow_indicator(byte: u8) -> bool {
    matches!(byte, b',' | b'[' | b']' | b'{' | b'}')
}

#[cfg(test)]
mod tests;
