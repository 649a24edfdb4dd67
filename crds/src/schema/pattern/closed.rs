//! Whether everything that a pattern matches is short and of few characters.

use super::automaton::{Look, Pattern, State};

/// What is known on a way through a pattern: that it is at the start of the text, and that it is at its end. Bits of an index.
const STARTED: usize = 1;
const ENDED: usize = 2;
/// A larger pattern is not looked into.
const MOST_STATES: usize = 4 * 1024;

impl Pattern {
    /// Whether the pattern covers the whole text, which has at most so many characters, and each of its classes at most `widest`.
    pub fn is_closed(&self, longest: usize, widest: usize) -> bool {
        // Many arguments may have the same pattern.
        if self.states.len() > MOST_STATES {
            return false;
        }
        // How much every way from a state reads, at most; `None` if one of them admits something else before, between or after.
        let mut reads: Vec<[Option<usize>; 4]> = vec![[None; 4]; self.states.len()];
        // All states but the jumps of an unbounded repetition lead to later ones.
        for (n, state) in self.states.iter().enumerate().rev() {
            for known in 0..4 {
                let from = |state: u32, known: usize| {
                    let state = state as usize;
                    if state > n { reads.get(state).and_then(|reads| reads[known]) } else { None }
                };
                let next = n as u32 + 1;
                let read = || from(next, known & STARTED).filter(|_| known & STARTED != 0).map(|length| length + 1);
                let length = match *state {
                    State::Character(_) => read(),
                    State::Class(class) if self.classes[class as usize].size <= widest => read(),
                    State::Class(_) => None,
                    State::Split(a, b) => from(a, known).zip(from(b, known)).map(|(a, b)| a.max(b)),
                    State::Jump(to) => from(to, known),
                    State::Look(Look::Start) => from(next, known | STARTED),
                    State::Look(Look::End) => from(next, known | ENDED),
                    State::Look(_) => from(next, known),
                    State::Match => (known == STARTED | ENDED).then_some(0),
                };
                reads[n][known] = length.filter(|length| *length <= longest);
            }
        }
        reads.first().is_some_and(|reads| reads[0].is_some())
    }
}
