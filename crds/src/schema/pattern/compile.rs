//! From the syntax tree of a pattern to its automaton.

use std::sync::Arc;

use regex_syntax::ast::{self, AssertionKind, Ast, Flag, GroupKind, Repetition, RepetitionKind, RepetitionRange};

use super::{
    PatternError,
    automaton::{Look, Pattern, State},
    class::{Class, Classes, Flags},
};

/// Compiles a pattern to at most so many states, and takes each part that is added from what may be visited.
pub(super) fn compile(
    pattern: &str,
    ast: &Ast,
    (max_states, visits_left): (usize, &mut usize),
    classes: &mut Classes,
) -> Result<Pattern, PatternError> {
    let flags = Flags { ignore_case: false, any: false };
    let mut compiler = Compiler {
        pattern,
        max_states,
        visits_left,
        classes,
        flags,
        multi_line: false,
        states: Vec::new(),
        used: Vec::new(),
    };
    compiler.add(ast)?;
    compiler.push(State::Match)?;
    Ok(Pattern { source: pattern.into(), states: compiler.states.into(), classes: compiler.used.into() })
}

struct Compiler<'a> {
    pattern: &'a str,
    max_states: usize,
    /// How many parts may still be added: repeated parts may have no states.
    visits_left: &'a mut usize,
    classes: &'a mut Classes,
    flags: Flags,
    multi_line: bool,
    states: Vec<State>,
    used: Vec<Arc<Class>>,
}

impl Compiler<'_> {
    /// Adds the states of a part of the pattern. They begin at the next free place and end before the one that is free then.
    fn add(&mut self, ast: &Ast) -> Result<(), PatternError> {
        *self.visits_left = self.visits_left.checked_sub(1).ok_or(PatternError::TooManyStates)?;
        match ast {
            Ast::Empty(_) => Ok(()),
            Ast::Flags(set) => self.set_flags(&set.flags),
            Ast::Literal(literal) if !self.flags.ignore_case => self.push(State::Character(literal.c)),
            Ast::Literal(_) | Ast::Dot(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) => {
                self.add_class(ast)
            }
            Ast::Assertion(assertion) => {
                let look = self.look(&assertion.kind)?;
                self.push(State::Look(look))
            }
            Ast::Repetition(repetition) => self.repeat(repetition),
            Ast::Group(group) => {
                let outer = (self.flags, self.multi_line);
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.set_flags(flags)?;
                }
                self.add(&group.ast)?;
                (self.flags, self.multi_line) = outer;
                Ok(())
            }
            Ast::Alternation(alternation) => self.choose(&alternation.asts),
            Ast::Concat(concat) => concat.asts.iter().try_for_each(|ast| self.add(ast)),
        }
    }

    fn push(&mut self, state: State) -> Result<(), PatternError> {
        if self.states.len() >= self.max_states {
            return Err(PatternError::TooManyStates);
        }
        self.states.push(state);
        Ok(())
    }

    fn here(&self) -> u32 {
        self.states.len() as u32
    }

    fn add_class(&mut self, ast: &Ast) -> Result<(), PatternError> {
        let class = self.classes.get(self.pattern, ast, self.flags)?;
        // A repetition adds the same class again and again.
        let known = self.used.iter().rposition(|used| Arc::ptr_eq(used, &class));
        let id = known.unwrap_or_else(|| {
            self.used.push(class);
            self.used.len() - 1
        });
        self.push(State::Class(id as u32))
    }

    fn choose(&mut self, asts: &[Ast]) -> Result<(), PatternError> {
        let mut ends = Vec::new();
        for (n, ast) in asts.iter().enumerate() {
            let split = self.here() as usize;
            let is_last = n + 1 == asts.len();
            if !is_last {
                self.push(State::Jump(0))?;
            }
            self.add(ast)?;
            if !is_last {
                ends.push(self.here() as usize);
                self.push(State::Jump(0))?;
                self.states[split] = State::Split(split as u32 + 1, self.here());
            }
        }
        let end = self.here();
        ends.into_iter().for_each(|jump| self.states[jump] = State::Jump(end));
        Ok(())
    }

    fn repeat(&mut self, repetition: &Repetition) -> Result<(), PatternError> {
        let (min, max) = match &repetition.op.kind {
            RepetitionKind::ZeroOrOne => (0, Some(1)),
            RepetitionKind::ZeroOrMore => (0, None),
            RepetitionKind::OneOrMore => (1, None),
            RepetitionKind::Range(RepetitionRange::Exactly(n)) => (*n, Some(*n)),
            RepetitionKind::Range(RepetitionRange::AtLeast(n)) => (*n, None),
            RepetitionKind::Range(RepetitionRange::Bounded(min, max)) => (*min, Some(*max)),
        };
        for _ in 0..min {
            let before = self.here();
            self.add(&repetition.ast)?;
            // Copies of nothing add nothing, however many there are.
            if self.here() == before {
                break;
            }
        }
        let Some(max) = max else { return self.repeat_for_ever(&repetition.ast) };
        let mut splits = Vec::new();
        for _ in min..max {
            splits.push(self.here() as usize);
            self.push(State::Jump(0))?;
            self.add(&repetition.ast)?;
        }
        let end = self.here();
        splits.into_iter().for_each(|split| self.states[split] = State::Split(split as u32 + 1, end));
        Ok(())
    }

    fn repeat_for_ever(&mut self, ast: &Ast) -> Result<(), PatternError> {
        let split = self.here();
        self.push(State::Jump(0))?;
        self.add(ast)?;
        self.push(State::Jump(split))?;
        self.states[split as usize] = State::Split(split + 1, self.here());
        Ok(())
    }

    fn set_flags(&mut self, flags: &ast::Flags) -> Result<(), PatternError> {
        if flags.flag_state(Flag::Unicode) == Some(false) {
            return Err(PatternError::Unsupported("(?-u)"));
        }
        if flags.flag_state(Flag::CRLF).is_some() {
            return Err(PatternError::Unsupported("(?R)"));
        }
        let state = |flag, now| flags.flag_state(flag).unwrap_or(now);
        self.flags.ignore_case = state(Flag::CaseInsensitive, self.flags.ignore_case);
        self.flags.any = state(Flag::DotMatchesNewLine, self.flags.any);
        self.multi_line = state(Flag::MultiLine, self.multi_line);
        Ok(())
    }

    fn look(&self, kind: &AssertionKind) -> Result<Look, PatternError> {
        match kind {
            AssertionKind::StartText => Ok(Look::Start),
            AssertionKind::EndText => Ok(Look::End),
            AssertionKind::StartLine => Ok(if self.multi_line { Look::StartLine } else { Look::Start }),
            AssertionKind::EndLine => Ok(if self.multi_line { Look::EndLine } else { Look::End }),
            AssertionKind::WordBoundary => Ok(Look::WordBoundary),
            AssertionKind::NotWordBoundary => Ok(Look::NotWordBoundary),
            _ => Err(PatternError::Unsupported("a word boundary other than \\b and \\B")),
        }
    }
}
