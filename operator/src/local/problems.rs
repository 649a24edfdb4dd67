//! What is wrong with the folder: each problem is printed once.

use std::collections::BTreeSet;

use super::console::{print, warn};
use crate::manifests::{Folder, Problem, Severity};

/// The problems that were printed and not fixed since.
#[derive(Default)]
pub(super) struct Problems(BTreeSet<Problem>);

impl Problems {
    /// Prints the problems that are new, and whether all are fixed. `before` is the folder before this reading.
    pub fn update(&mut self, problems: BTreeSet<Problem>, before: &Folder) {
        for problem in problems.difference(&self.0) {
            let has_valid_state = before.ids().any(|id| match &problem.object {
                Some(object) => id == object,
                None => before.file(id) == problem.file,
            });
            let is_kept = problem.severity == Severity::Refused && has_valid_state;
            warn(&format!(
                "{problem}{}",
                if is_kept { "  (the last valid state stays in force, but for what was taken away)" } else { "" }
            ));
        }
        if problems.is_empty() && !self.0.is_empty() {
            print("All problems are fixed.");
        }
        self.0 = problems;
    }
}
