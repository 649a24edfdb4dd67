//! Which corrections of drift are made and reported: each change is reported once, and a party that makes the same change again and
//! again once a minute. An object that is changed again each time is put back less and less often, so that its pods are not replaced
//! all the time. What may give a pod a privilege stays for seconds at most, unless a webhook adds the same with each write.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::cluster::foreign::Privileges;

/// How often the same correction is reported.
const AGAIN: Duration = Duration::from_secs(60);
/// How many corrections are remembered.
const REMEMBERED: usize = 256;
/// How many corrections of one object follow each other without a pause.
const FREE: u32 = 10;
/// The first pause after that, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// The longest pause if the object is changed while it is written: each further write may replace its pods, and is for nothing.
const LONGEST_IN_VAIN: Duration = Duration::from_secs(3600);
/// The longest that what may be a privilege stays in place, unless it was there, the same, as soon as the object had been written.
const PRIVILEGE: Duration = Duration::from_secs(5);
/// After a correction that held for this long nobody contests it.
const QUIET: Duration = Duration::from_secs(120);

/// The kind and name of an object.
pub type Child = (&'static str, String);

/// The corrections of one server's objects.
#[derive(Debug, Default)]
pub struct Corrections {
    /// By what was corrected.
    reported: HashMap<String, Reported>,
    fights: HashMap<Child, Fight>,
    /// The corrections that were sent and whose answers did not arrive yet, in words.
    sent: HashMap<Child, String>,
}

#[derive(Debug)]
struct Reported {
    at: Instant,
    /// How often it was made since without a report.
    unreported: u32,
}

/// One object that is corrected.
#[derive(Debug)]
struct Fight {
    corrected_at: Instant,
    /// How many corrections followed each other.
    times: u32,
    is_in_vain: bool,
    /// What may be a privilege and was there as soon as the object had been written.
    in_vain: Privileges,
    words: String,
}

/// What was not as it should be when an object had just been written.
pub struct InVain<'a> {
    /// In words.
    pub fields: &'a str,
    /// Those that may be a privilege.
    pub privileges: Privileges,
}

impl Fight {
    fn pause(&self) -> Duration {
        let (free, longest) = if self.is_in_vain { (0, LONGEST_IN_VAIN) } else { (FREE, LONGEST) };
        match self.times.checked_sub(free + 1) {
            Some(more) => FIRST.saturating_mul(1 << more.min(16)).min(longest),
            None => Duration::ZERO,
        }
    }

    fn is_contested(&self, now: Instant) -> bool {
        !self.pause().is_zero() && self.goes_on(now)
    }

    /// Whether a correction now would follow this one.
    fn goes_on(&self, now: Instant) -> bool {
        now.duration_since(self.corrected_at) < self.quiet()
    }

    fn quiet(&self) -> Duration {
        QUIET.max(self.pause() * 2)
    }
}

impl Corrections {
    /// How long an object that was changed stays as it is, because it was put back so often; `None` if it is put back now. `privileges`
    /// are what others added or changed where that may be one.
    pub fn wait(&self, child: &Child, privileges: &Privileges, now: Instant) -> Option<Duration> {
        let fight = self.fights.get(child)?;
        let longest = if privileges.is_subset(&fight.in_vain) { Duration::MAX } else { PRIVILEGE };
        (fight.corrected_at + fight.pause().min(longest)).checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Counts a correction of an object in these fields. Returns what is said once somebody contests it.
    pub fn corrected(
        &mut self,
        child: &Child,
        fields: &str,
        by: &BTreeSet<String>,
        in_vain: Option<InVain<'_>>,
        now: Instant,
    ) -> Option<String> {
        if self.fights.len() >= REMEMBERED {
            self.fights.clear();
        }
        let before = self.fights.get(child).filter(|fight| fight.goes_on(now));
        let is_continued = before.is_some_and(|fight| fight.is_in_vain == in_vain.is_some());
        let (kind, name) = child;
        let words = match &in_vain {
            Some(InVain { fields, .. }) => format!(
                "{kind} {name} is not as it was written, in {fields}: something changes it on the way, such as a mutating webhook"
            ),
            None => format!("{kind} {name} is changed again each time it is put back, in {fields}{}", changed_by(by)),
        };
        let times = before.filter(|_| is_continued).map_or(0, |fight| fight.times) + 1;
        let is_in_vain = in_vain.is_some();
        let in_vain = in_vain.map(|it| it.privileges).unwrap_or_default();
        let fight = Fight { corrected_at: now, times, is_in_vain, in_vain, words };
        let was_contested = is_continued && before.is_some_and(|fight| fight.is_contested(now));
        let news = (fight.is_contested(now) && !was_contested).then(|| fight.words.clone());
        self.fights.insert(child.clone(), fight);
        news
    }

    /// Keeps what a correction is about to put back: its answer may never be seen, because it is late or given up for a removal.
    pub fn sending(&mut self, child: &Child, words: String) {
        self.sent.insert(child.clone(), words);
    }

    /// What was sent last, if its answer did not arrive.
    pub fn take_sent(&mut self, child: &Child) -> Option<String> {
        self.sent.remove(child)
    }

    /// Takes note that an object is as it should be, although nothing was written. Returns what an earlier correction put back.
    pub fn unchanged(&mut self, child: &Child) -> Option<String> {
        if self.fights.get(child).is_some_and(|fight| fight.is_in_vain) {
            self.fights.remove(child);
        }
        self.take_sent(child)
    }

    /// What is contested now, in words, and when that is looked at again.
    pub fn contested(&self, now: Instant) -> (Vec<String>, Option<Duration>) {
        let contested = || self.fights.values().filter(|fight| fight.is_contested(now));
        let mut words: Vec<String> = contested().map(|fight| fight.words.clone()).collect();
        words.sort_unstable();
        let again = |fight: &Fight| {
            let again = [fight.corrected_at + fight.pause(), fight.corrected_at + fight.quiet()];
            again.into_iter().filter_map(|at| at.checked_duration_since(now)).find(|left| !left.is_zero())
        };
        (words, contested().filter_map(again).min())
    }

    /// Counts a report of a correction. Returns what is reported; `None` if the same was reported just before.
    pub fn report(&mut self, what: String, now: Instant) -> Option<String> {
        if self.reported.len() >= REMEMBERED {
            self.reported.clear();
        }
        let before = self.reported.get_mut(&what);
        let unreported = match before {
            Some(before) if now.duration_since(before.at) < AGAIN => {
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
        self.reported.insert(what, Reported { at: now, unreported: 0 });
        Some(report)
    }
}

/// ` (changed by helm, kubectl-edit)`, as far as it is known.
pub fn changed_by(managers: &BTreeSet<String>) -> String {
    const NAMED: usize = 4;
    let named: Vec<&str> = managers.iter().take(NAMED).map(String::as_str).collect();
    if named.is_empty() { String::new() } else { format!(" (changed by {})", named.join(", ")) }
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

    fn privileges(all: &[(&str, u64)]) -> Privileges {
        all.iter().map(|(field, value)| ((*field).to_owned(), *value)).collect()
    }

    /// A sidecar that is there again as soon as the object was written.
    fn in_vain(fields: Option<&str>) -> Option<InVain<'_>> {
        fields.map(|fields| InVain { fields, privileges: privileges(&[("sidecar", 1)]) })
    }

    fn child() -> Child {
        ("Deployment", "crm".to_owned())
    }

    /// What becomes of an object that is changed again at once whenever it is put back: the seconds at which it is put back.
    fn put_back_at(
        corrections: &mut Corrections,
        added: &[(&str, u64)],
        remains: Option<&str>,
        start: Instant,
        seconds: u64,
    ) -> Vec<u64> {
        let added = privileges(added);
        let by = BTreeSet::from(["helm".to_owned()]);
        (0..seconds)
            .filter(|second| {
                let now = start + Duration::from_secs(*second);
                let is_now = corrections.wait(&child(), &added, now).is_none();
                if is_now {
                    corrections.corrected(&child(), "spec.x", &by, in_vain(remains), now);
                }
                is_now
            })
            .collect()
    }

    #[test]
    fn what_is_changed_again_each_time_is_put_back_less_and_less_often_and_said_until_that_ends() {
        let start = Instant::now();
        for (remains, free, longest, pauses, words) in [
            (
                None,
                10,
                LONGEST,
                &[0, 1, 3, 7, 15, 31, 63, 123, 183][..],
                "Deployment crm is changed again each time it is put back, in spec.x (changed by helm)",
            ),
            (
                Some("spec.y"),
                0,
                LONGEST_IN_VAIN,
                &[0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 2047, 4095, 7695],
                "Deployment crm is not as it was written, in spec.y: something changes it on the way, such as a mutating webhook",
            ),
        ] {
            let mut corrections = Corrections::default();
            let mut expected: Vec<u64> = (0..free).collect();
            expected.extend(pauses.iter().map(|second| second + free));
            let end = expected.last().unwrap() + 1;
            let added = if remains.is_some() { &[("sidecar", 1)][..] } else { &[] };
            assert_eq!(put_back_at(&mut corrections, added, remains, start, end), expected);
            let last = start + Duration::from_secs(end - 1);
            let (said, again) = corrections.contested(last);
            assert_eq!((said, again), (vec![words.to_owned()], Some(longest)));
            assert_eq!(corrections.contested(last + longest * 2), (vec![], None));
            assert_eq!(corrections.wait(&child(), &privileges(added), last + longest), None);
        }
    }

    #[test]
    fn a_privilege_that_is_added_again_each_time_is_removed_every_few_seconds_also_if_a_webhook_adds_something_else() {
        for added in [&[("hostNetwork", 1), ("sidecar", 1)][..], &[("sidecar", 2)]] {
            for remains in [None, Some("spec.y")] {
                let mut corrections = Corrections::default();
                let removed = put_back_at(&mut corrections, added, remains, Instant::now(), 600);
                let longest = removed.windows(2).map(|pair| pair[1] - pair[0]).max();
                let expected = (Some(PRIVILEGE.as_secs()), Some(&597));
                assert_eq!((longest, removed.last()), expected, "{added:?} {remains:?}: {removed:?}");
            }
        }
    }

    #[test]
    fn a_webhook_that_is_removed_ends_what_is_said_with_the_next_correction() {
        let (start, mut corrections, by) = (Instant::now(), Corrections::default(), BTreeSet::new());
        assert!(
            corrections.corrected(&child(), "spec.x", &by, in_vain(Some("spec.x")), start).is_some(),
            "it is said once"
        );
        assert_eq!(corrections.corrected(&child(), "spec.x", &by, in_vain(Some("spec.x")), start), None);
        assert_eq!(corrections.corrected(&child(), "spec.x", &by, None, start), None);
        assert_eq!(corrections.contested(start), (vec![], None));
        corrections.corrected(&child(), "spec.x", &by, in_vain(Some("spec.x")), start);
        assert_eq!(corrections.unchanged(&child()), None);
        assert_eq!(corrections.contested(start), (vec![], None));
    }
}
