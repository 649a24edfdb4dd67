//! How much work one check of arguments may take.
//!
//! A step is a piece of work of bounded cost: a keyword, an item, a state of a pattern, a few bytes of text. Whoever works on what
//! callers or schemas provide takes its steps here first, so that the budget bounds the time of every check.

/// The budget of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    left: u64,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

/// How many bytes of text are compared, copied or hashed in one step.
const BYTES: usize = 16;

impl Steps {
    pub const fn new(budget: u64) -> Self {
        Self { left: budget }
    }

    /// What is left of the budget.
    pub const fn left(self) -> u64 {
        self.left
    }

    /// # Errors
    /// Returns an error if the budget has fewer steps left.
    pub(super) fn take(&mut self, steps: usize) -> Result<(), Exhausted> {
        match self.left.checked_sub(steps as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Exhausted)
            }
        }
    }

    /// Takes the steps for reading a text.
    ///
    /// # Errors
    /// As [`Steps::take`].
    pub(super) fn read(&mut self, text: &str) -> Result<(), Exhausted> {
        self.take(1 + text.len() / BYTES)
    }
}
