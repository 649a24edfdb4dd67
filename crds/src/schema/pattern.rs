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
    #[error("is not a regular expression that can be matched in linear time: {0}")]
    Syntax(String),
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

fn parse(pattern: &str) -> Result<regex_syntax::ast::Ast, PatternError> {
    let mut parser = regex_syntax::ast::parse::ParserBuilder::new().nest_limit(64).build();
    // The text of the error repeats the pattern; the kind says what is wrong.
    parser.parse(pattern).map_err(|error| PatternError::Syntax(error.kind().to_string()))
}

#[cfg(test)]
mod tests;
