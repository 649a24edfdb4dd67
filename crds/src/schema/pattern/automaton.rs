//! A nondeterministic automaton over characters, and its simulation with sets of states.

use std::sync::Arc;

use super::class::Class;
use crate::schema::steps::{Exhausted, Steps};

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    /// As it was written.
    pub(super) source: Box<str>,
    pub(super) states: Box<[State]>,
    pub(super) classes: Box<[Arc<Class>]>,
}

/// What a state does; unless it says otherwise, the state after it is next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    /// Reads this character.
    Character(char),
    /// Reads a character of this class.
    Class(u32),
    /// Goes on in both states.
    Split(u32, u32),
    Jump(u32),
    Look(Look),
    Match,
}

/// What is required of a position in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Look {
    Start,
    End,
    StartLine,
    EndLine,
    WordBoundary,
    NotWordBoundary,
}

/// The sets of states of a simulation, to be used again and again.
#[derive(Debug, Default)]
pub struct StateSets {
    current: StateSet,
    next: StateSet,
    pending: Vec<u32>,
}

/// A set of states that is emptied in constant time.
#[derive(Debug, Default)]
struct StateSet {
    members: Vec<u32>,
    /// The place of each state in `members`, if it is a member.
    places: Vec<u32>,
}

/// A position in the text: the characters before and after it.
#[derive(Clone, Copy)]
struct Position {
    before: Option<char>,
    after: Option<char>,
}

impl Pattern {
    pub fn source(&self) -> &str {
        &self.source
    }

    pub fn states(&self) -> usize {
        self.states.len()
    }

    /// Whether the pattern matches anywhere in the text.
    pub fn is_match(&self, text: &str, sets: &mut StateSets, steps: &mut Steps) -> Result<bool, Exhausted> {
        sets.fit(self.states.len(), steps)?;
        let begins_at_start = self.states.first() == Some(&State::Look(Look::Start));
        let mut characters = text.chars();
        let mut at = Position { before: None, after: characters.next() };
        loop {
            if (!begins_at_start || at.before.is_none()) && self.enter(0, at, sets, steps)? {
                return Ok(true);
            }
            let Some(character) = at.after else { return Ok(false) };
            if begins_at_start && sets.next.members.is_empty() {
                return Ok(false);
            }
            std::mem::swap(&mut sets.current, &mut sets.next);
            sets.next.members.clear();
            at = Position { before: Some(character), after: characters.next() };
            for n in 0..sets.current.members.len() {
                let state = sets.current.members[n];
                let reads = match self.states[state as usize] {
                    State::Character(expected) => expected == character,
                    State::Class(class) => self.classes[class as usize].contains(character),
                    _ => false,
                };
                if reads && self.enter(state + 1, at, sets, steps)? {
                    return Ok(true);
                }
            }
        }
    }

    /// Adds a state, and those that follow without reading, to the next set. Returns whether the pattern has matched.
    fn enter(&self, state: u32, at: Position, sets: &mut StateSets, steps: &mut Steps) -> Result<bool, Exhausted> {
        sets.pending.push(state);
        while let Some(state) = sets.pending.pop() {
            steps.take(1)?;
            if !sets.next.insert(state) {
                continue;
            }
            match self.states[state as usize] {
                State::Character(_) | State::Class(_) => {}
                State::Split(a, b) => sets.pending.extend([a, b]),
                State::Jump(to) => sets.pending.push(to),
                State::Look(look) if at.is(look) => sets.pending.push(state + 1),
                State::Look(_) => {}
                State::Match => {
                    sets.pending.clear();
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl StateSets {
    /// Empties the sets and makes room for this many states.
    fn fit(&mut self, states: usize, steps: &mut Steps) -> Result<(), Exhausted> {
        self.current.members.clear();
        self.next.members.clear();
        self.pending.clear();
        if self.current.places.len() < states {
            steps.take(states / 16)?;
            self.current.places.resize(states, 0);
            self.next.places.resize(states, 0);
        }
        Ok(())
    }
}

impl StateSet {
    /// Returns whether the state is new.
    fn insert(&mut self, state: u32) -> bool {
        let place = &mut self.places[state as usize];
        if self.members.get(*place as usize) == Some(&state) {
            return false;
        }
        *place = self.members.len() as u32;
        self.members.push(state);
        true
    }
}

impl Position {
    fn is(self, look: Look) -> bool {
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        match look {
            Look::Start => self.before.is_none(),
            Look::End => self.after.is_none(),
            Look::StartLine => self.before.is_none_or(|c| c == '\n'),
            Look::EndLine => self.after.is_none_or(|c| c == '\n'),
            Look::WordBoundary => is_word(self.before) != is_word(self.after),
            Look::NotWordBoundary => is_word(self.before) == is_word(self.after),
        }
    }
}
