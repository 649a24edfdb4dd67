//! Regular expressions of schemas (`pattern` and `patternProperties`), as far as they are matched in linear time: no look-around and
//! no references to groups.
//!
//! The automaton works on characters, and all its states share one copy of each character class. So a pattern takes a few bytes
//! for each character of a repetition, whatever its classes are, and a match takes no other memory than the sets of states, and
//! counts its steps exactly. Engines that work on bytes need a megabyte for `\p{L}{20}`, and keep caches for each thread.

mod automaton;
mod class;
mod closed;
mod compile;

use std::{collections::HashMap, sync::Arc};

pub(super) use automaton::{Pattern, StateSets};
use class::Classes;
use regex_syntax::ast::{self, Ast, ErrorKind, parse::ParserBuilder};

/// The longest pattern, in bytes.
const MAX_BYTES: usize = 8 * 1024;

/// Compiles patterns, each of them once, and bounds what they take together.
#[derive(Debug)]
pub struct Patterns {
    states_left: usize,
    visits_left: usize,
    classes: Classes,
    known: HashMap<Box<str>, Arc<Pattern>>,
}

/// Why a pattern is refused, as a phrase that follows the pattern's place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("has {0} bytes; at most {MAX_BYTES} are allowed in a pattern")]
    TooLong(usize),
    /// `at` is the character at which it is wrong, counted from 1.
    #[error("is not a regular expression: {what}, at character {at}")]
    Syntax { what: String, at: usize },
    #[error(
        "uses {what} (`{found}`, at character {at}), which is not supported, because patterns are matched in linear time{instead}"
    )]
    NotLinear { what: &'static str, found: String, at: usize, instead: &'static str },
    #[error("uses `{0}`, which is not supported in a pattern")]
    Unsupported(&'static str),
    #[error(
        "exceeds what all patterns of a server may take together ({} states, one for each character of a counted repetition); use \
         smaller counts, or `maxLength`",
        Patterns::STATES
    )]
    TooManyStates,
    #[error(
        "exceeds what the character classes of all patterns of a server may take together; use fewer different classes such as \
         \\p{{L}}"
    )]
    TooManyClasses,
}

impl Patterns {
    /// How many states the patterns of a server may have together: about 2 MB.
    pub const STATES: usize = 128 * 1024;

    pub(super) fn compile(&mut self, pattern: &str) -> Result<Arc<Pattern>, PatternError> {
        if let Some(known) = self.known.get(pattern) {
            return Ok(known.clone());
        }
        if pattern.len() > MAX_BYTES {
            return Err(PatternError::TooLong(pattern.len()));
        }
        let ast = parse(pattern)?;
        let compiled = compile::compile(pattern, &ast, (self.states_left, &mut self.visits_left), &mut self.classes)?;
        self.states_left -= compiled.states();
        let compiled = Arc::new(compiled);
        self.known.insert(pattern.into(), compiled.clone());
        Ok(compiled)
    }
}

impl Default for Patterns {
    fn default() -> Self {
        Self {
            states_left: Self::STATES,
            visits_left: 8 * Self::STATES,
            classes: Classes::default(),
            known: HashMap::new(),
        }
    }
}

/// Whether a text is a pattern, for `format: regex`. Takes time in proportion to its length.
pub(super) fn is_pattern(text: &str) -> bool {
    parse(text).is_ok()
}

fn parse(pattern: &str) -> Result<Ast, PatternError> {
    let mut parser = ParserBuilder::new().nest_limit(64).build();
    parser.parse(pattern).map_err(|error| refusal(pattern, &error))
}

/// What is wrong with a pattern, and where. Of the pattern itself only what is not supported is repeated.
fn refusal(pattern: &str, error: &ast::Error) -> PatternError {
    const LONGEST: usize = 12;
    let offset = error.span().start.offset;
    let rest = pattern.get(offset..).unwrap_or_default();
    let found: String =
        pattern.get(offset..error.span().end.offset).unwrap_or_default().chars().take(LONGEST).collect();
    let (what, instead) = match error.kind() {
        ErrorKind::UnsupportedLookAround => {
            let what = match rest.get(..4).unwrap_or(rest) {
                start if start.starts_with("(?=") => "a look-ahead",
                start if start.starts_with("(?!") => "a negative look-ahead",
                "(?<=" => "a look-behind",
                _ => "a negative look-behind",
            };
            (what, "; write what may be there, or several patterns in `allOf`")
        }
        ErrorKind::UnsupportedBackreference if rest.starts_with("\\0") => {
            return syntax(pattern, "\\0 is not supported; write \\x00".to_owned(), offset);
        }
        ErrorKind::UnsupportedBackreference => ("a reference to a group", ""),
        ErrorKind::EscapeUnrecognized | ErrorKind::ClassEscapeInvalid => {
            return syntax(pattern, format!("the escape `{found}` is not supported"), offset);
        }
        kind => return syntax(pattern, kind.to_string(), offset),
    };
    PatternError::NotLinear { what, found, at: position(pattern, offset), instead }
}

/// What is wrong at an offset in bytes.
fn syntax(pattern: &str, what: String, offset: usize) -> PatternError {
    PatternError::Syntax { what, at: position(pattern, offset) }
}

/// The character at an offset in bytes, counted from 1.
fn position(pattern: &str, offset: usize) -> usize {
    pattern.get(..offset).unwrap_or(pattern).chars().count() + 1
}

#[cfg(test)]
mod tests;
