//! Which corrections of drift are reported: each change once, and a party that makes the same change again and again once a minute.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// How often the same correction is reported.
const AGAIN: Duration = Duration::from_secs(60);
/// How many corrections are remembered.
const REMEMBERED: usize = 256;

/// The corrections of one server's objects, by what was corrected.
#[derive(Debug, Default)]
pub struct Corrections(HashMap<String, Correction>);

#[derive(Debug)]
struct Correction {
    reported_at: Instant,
    /// How often it was made since without a report.
    unreported: u32,
}

impl Corrections {
    /// Counts a correction. Returns its report; `None` if the same one was reported just before.
    pub fn report(&mut self, what: String, now: Instant) -> Option<String> {
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        let before = self.0.get_mut(&what);
        let unreported = match before {
            Some(before) if now.duration_since(before.reported_at) < AGAIN => {
                before.unreported += 1;
                return None;
            }
            Some(before) => before.unreported,
            None => 0,
        };
        let report = match unreported {
            0 => what.clone(),
            times => format!("{what} ({times} more times since this was last reported)"),
        };
        self.0.insert(what, Correction { reported_at: now, unreported: 0 });
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_reported_once_and_one_that_comes_again_once_a_minute() {
        let (mut corrections, start) = (Corrections::default(), Instant::now());
        let mut at = |second: u64, what: &str| corrections.report(what.into(), start + Duration::from_secs(second));
        assert_eq!(at(0, "a"), Some("a".into()));
        assert_eq!(at(1, "b"), Some("b".into()));
        for second in [5, 10, 59] {
            assert_eq!(at(second, "a"), None);
        }
        assert_eq!(at(60, "a"), Some("a (3 more times since this was last reported)".into()));
        assert_eq!(at(200, "a"), Some("a".into()));
    }
}
