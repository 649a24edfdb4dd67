use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use proptest::prelude::*;

use super::*;
use crate::{fingerprint::Fingerprint, limiter::Rate};

fn at(nanos: u64) -> Moment {
    Moment::from_nanos(nanos)
}

fn dimension(key: LimitKey, requests: u32, per: u64) -> Dimension {
    Dimension { key, rate: Rate { requests, per: Duration::from_nanos(per) } }
}

/// The dimensions of a call as the guard makes them, with small numbers.
fn call(client: u8, tool: u8) -> [Dimension; 4] {
    let identity = Fingerprint::from_bytes([client; 16]);
    let tool = Fingerprint::from_bytes([100 + tool; 16]);
    [
        dimension(LimitKey::Global, 12, 100),
        dimension(LimitKey::Tool { identity, tool }, 2, 100),
        dimension(LimitKey::Pool(identity), 6, 100),
        dimension(LimitKey::Identity(identity), 5, 70),
    ]
}

/// The largest number of `times` in any span of `per`.
fn most_in_a_span(mut times: Vec<u64>, per: u64) -> usize {
    times.sort_unstable();
    let mut from = 0;
    let within = |(index, time): (usize, &u64)| {
        while times[from] + per <= *time {
            from += 1;
        }
        index + 1 - from
    };
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

/// Asserts that no limit is exceeded by these admissions, each given with its dimensions and its time.
fn assert_no_span_has_more(admitted: &[(Vec<Dimension>, u64)]) {
    let mut by_dimension: HashMap<Dimension, Vec<u64>> = HashMap::default();
    for (dimensions, time) in admitted {
        for dimension in dimensions {
            by_dimension.entry(*dimension).or_default().push(*time);
        }
    }
    for (dimension, times) in by_dimension {
        let most = most_in_a_span(times, u64::try_from(dimension.rate.per.as_nanos()).unwrap());
        assert!(most <= dimension.rate.requests as usize, "{dimension:?} admitted {most}");
    }
}

/// What the logs must do, in the plainest form: the times of all admissions of each dimension.
#[derive(Default)]
struct Model(HashMap<Dimension, Vec<u64>>);

impl Model {
    /// Admits a call, or returns how long until each dimension has fewer than N in its span.
    fn admit(&mut self, dimensions: &[Dimension], now: u64) -> Result<(), u64> {
        let wait = dimensions.iter().map(|dimension| {
            let times = self.0.get(dimension).map_or(&[][..], Vec::as_slice);
            let nth_last = times.len().checked_sub(dimension.rate.requests as usize).map(|n| times[n]);
            let per = u64::try_from(dimension.rate.per.as_nanos()).unwrap();
            nth_last.map_or(0, |time| (time + per).saturating_sub(now))
        });
        match wait.max() {
            Some(wait) if wait > 0 => Err(wait),
            _ => {
                for dimension in dimensions {
                    self.0.entry(*dimension).or_default().push(now);
                }
                Ok(())
            }
        }
    }

    fn take_back(&mut self, dimensions: &[Dimension], taken: u64) {
        for dimension in dimensions {
            let times = self.0.entry(*dimension).or_default();
            times.remove(times.iter().position(|time| *time == taken).unwrap());
        }
    }
}

/// Whether a call is admitted. Logs and model must agree on that, and on the time to wait.
fn admits_as_the_model(logs: &Logs, model: &mut Model, dimensions: &[Dimension], now: u64) -> bool {
    let found = logs.admit(dimensions, at(now)).map_err(|over| u64::try_from(over.retry_after.as_nanos()).unwrap());
    assert_eq!(found, model.admit(dimensions, now));
    found.is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Equality with the model covers everything: a refused call uses up nothing in any dimension, every Retry-After is exact,
    /// and nothing is refused that could be admitted.
    #[test]
    fn it_admits_and_refuses_exactly_as_the_plain_model(calls in prop::collection::vec((0..3_u8, 0..2_u8, 0..40_u64), 1..300)) {
        let (logs, mut model) = (Logs::default(), Model::default());
        let mut now = 0;
        let mut admitted = Vec::new();
        for (client, tool, step) in calls {
            now += step / 4;
            let dimensions = call(client, tool);
            if admits_as_the_model(&logs, &mut model, &dimensions, now) {
                admitted.push((dimensions.to_vec(), now));
            }
        }
        assert_no_span_has_more(&admitted);
    }

    /// Taken back at any time, in any order: as if it had never been admitted.
    #[test]
    fn what_is_taken_back_was_never_used(calls in prop::collection::vec((0..3_u8, 0..2_u8, 0..40_u64, any::<prop::sample::Index>(), 0..3_u8), 1..300)) {
        let (logs, mut model) = (Logs::default(), Model::default());
        let mut now = 0;
        let mut admitted: Vec<([Dimension; 4], u64)> = Vec::new();
        for (client, tool, step, which, back) in calls {
            now += step / 4;
            if back == 0 && !admitted.is_empty() {
                let (dimensions, taken) = admitted.remove(which.index(admitted.len()));
                logs.take_back(&dimensions, at(taken));
                model.take_back(&dimensions, taken);
            }
            let dimensions = call(client, tool);
            if admits_as_the_model(&logs, &mut model, &dimensions, now) {
                admitted.push((dimensions, now));
            }
        }
    }

    #[test]
    fn a_call_is_admitted_at_its_retry_after_and_not_a_nanosecond_before(calls in prop::collection::vec((0..2_u8, 0..2_u8, 0..9_u64), 1..100)) {
        let logs = Logs::default();
        let mut now = 0;
        for (client, tool, step) in calls {
            now += step;
            let dimensions = call(client, tool);
            if let Err(over) = logs.admit(&dimensions, at(now)) {
                let wait = u64::try_from(over.retry_after.as_nanos()).unwrap();
                let before = logs.admit(&dimensions, at(now + wait - 1)).unwrap_err();
                prop_assert_eq!((before.dimension, before.retry_after.as_nanos()), (over.dimension, 1));
                now += wait;
                prop_assert_eq!(logs.admit(&dimensions, at(now)), Ok(()));
            }
        }
    }

    /// Above 1,024 a log is grouped: it may refuse a little early, and never admits too many.
    #[test]
    fn a_large_limit_is_never_exceeded(requests in 1_000..5_000_u32, steps in prop::collection::vec((0..50_u64, 1..2_000_usize, 0..50_usize), 1..20)) {
        let logs = Logs::default();
        let dimensions = [dimension(LimitKey::Global, requests, 100)];
        let mut now = 0;
        let mut times = Vec::new();
        for (step, calls, back) in steps {
            now += step;
            let admitted = (0..calls).filter(|_| logs.admit(&dimensions, at(now)).is_ok()).count();
            times.extend(std::iter::repeat_n(now, admitted));
            for _ in 0..back.min(times.len()) {
                logs.take_back(&dimensions, at(times.swap_remove(times.len() / 2)));
            }
        }
        prop_assert!(most_in_a_span(times, 100) <= requests as usize);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Threads read a clock that others move, and call a little later: the limits hold for the times that they read.
    #[test]
    fn no_span_admits_more_while_threads_race_a_moving_clock(seed in any::<u64>(), stride in 1..30_u64) {
        let logs = Logs::default();
        let clock = AtomicU64::new(0);
        let admitted = thread::scope(|scope| {
            let threads: Vec<_> = (0..4_u64).map(|thread| {
                let (logs, clock) = (&logs, &clock);
                scope.spawn(move || {
                    let mut random = seed ^ (thread.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                    let mut admitted = Vec::new();
                    for _ in 0..400 {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let now = clock.fetch_add((random >> 60) * stride / 8, Ordering::SeqCst);
                        if random & 0x700 == 0 {
                            thread::yield_now();
                        }
                        let mut dimensions = call((random >> 33) as u8 % 3, (random >> 41) as u8 % 2);
                        dimensions.rotate_left((random >> 20) as usize % 4);
                        if logs.admit(&dimensions, at(now)).is_ok() {
                            admitted.push((dimensions.to_vec(), now));
                        }
                        if random & 0x3800 == 0 && !admitted.is_empty() {
                            let (dimensions, taken) = admitted.swap_remove((random >> 50) as usize % admitted.len());
                            logs.take_back(&dimensions, at(taken));
                        }
                    }
                    admitted
                })
            }).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        prop_assert!(!admitted.is_empty());
        assert_no_span_has_more(&admitted);
    }
}

#[test]
fn threads_at_one_moment_are_admitted_exactly_up_to_the_limit() {
    let logs = Logs::default();
    let admitted: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|client| {
                let logs = &logs;
                scope.spawn(move || (0..100).filter(|_| logs.admit(&call(client, 0)[..1], at(7)).is_ok()).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 12);
}

#[test]
fn a_large_limit_takes_back_what_is_in_its_newest_group() {
    let logs = Logs::default();
    let dimensions = [dimension(LimitKey::Global, 5_000, 100)];
    let admitted = || (0..6_000).filter(|_| logs.admit(&dimensions, at(7)).is_ok()).count();
    let all = admitted();
    assert!((4_995..=5_000).contains(&all), "{all}");
    // All were taken at one moment: a group cannot be told from the one before.
    logs.take_back(&dimensions, at(7));
    assert_eq!(admitted(), 0);
    logs.admit(&dimensions, at(107)).unwrap();
    logs.admit(&dimensions, at(108)).unwrap();
    logs.take_back(&dimensions, at(108));
    let again = (0..6_000).filter(|_| logs.admit(&dimensions, at(109)).is_ok()).count();
    assert_eq!(again, all - 1);
}

#[test]
fn the_dimension_that_is_used_up_longest_is_named_in_any_order() {
    let logs = Logs::default();
    let [global, tool, pool, identity] = call(0, 0);
    for _ in 0..2 {
        logs.admit(&[tool, identity], at(0)).unwrap();
    }
    for order in [[global, tool, pool, identity], [identity, pool, tool, global]] {
        let over = logs.admit(&order, at(30)).unwrap_err();
        assert_eq!((order[over.dimension], over.retry_after), (tool, Duration::from_nanos(70)));
    }
}

#[test]
fn both_rates_of_a_key_count_every_admission() {
    let logs = Logs::default();
    let (slow, fast) = (dimension(LimitKey::Global, 1, 1_000), dimension(LimitKey::Global, 2, 10));
    assert_eq!(logs.admit(&[slow, fast], at(0)), Ok(()));
    assert_eq!(logs.admit(&[slow, fast], at(50)).map_err(|over| over.dimension), Err(0));
    assert_eq!(logs.admit(&[fast], at(50)), Ok(()));
    let over = OverLimit { dimension: 0, retry_after: Duration::from_nanos(50) };
    assert_eq!(logs.admit(&[slow, fast], at(1_000)), Err(over));
    assert_eq!(logs.admit(&[slow, fast], at(1_050)), Ok(()));
}

#[test]
fn a_dimension_given_twice_counts_once() {
    let logs = Logs::default();
    let once = dimension(LimitKey::Global, 2, 10);
    assert_eq!(logs.admit(&[once, once], at(0)), Ok(()));
    assert_eq!(logs.admit(&[once], at(0)), Ok(()));
    assert!(logs.admit(&[once], at(0)).is_err());
}

#[test]
fn a_limit_of_zero_admits_nothing_and_names_its_span() {
    let over = OverLimit { dimension: 0, retry_after: Duration::from_nanos(10) };
    assert_eq!(Logs::default().admit(&[dimension(LimitKey::Global, 0, 10)], at(1_000)), Err(over));
}

#[test]
fn logs_that_are_no_longer_needed_are_dropped() {
    let logs = Logs::default();
    let second = Duration::from_secs(1);
    let of = |n: u32| Dimension {
        key: LimitKey::Identity(Fingerprint::of(&[&n.to_string()])),
        rate: Rate { requests: 5, per: second },
    };
    for n in 0..2_000 {
        logs.admit(&[of(n)], at(0)).unwrap();
    }
    assert_eq!(logs.len(), 2_000);
    for n in 2_000..2_200 {
        logs.admit(&[of(n)], Moment::from_nanos(0) + SWEEP_EVERY + KEPT).unwrap();
    }
    assert_eq!(logs.len(), 200);
}

#[test]
fn a_limit_that_is_lowered_counts_what_was_used() {
    let logs = Logs::default();
    let of = |requests| [dimension(LimitKey::Global, requests, 1_000)];
    assert!((0..60).all(|n| logs.admit(&of(60), at(n)).is_ok()));
    for requests in [3, 4, 5, 0, 59, 60] {
        assert!(logs.admit(&of(requests), at(100)).is_err(), "{requests}");
    }
    // Raised by one: as if it had always been so.
    assert!(logs.admit(&of(61), at(101)).is_ok());
    assert!(logs.admit(&of(61), at(102)).is_err());
    // The limit of 5 admits again when fewer than 5 admissions are in its span.
    let over = logs.admit(&of(5), at(200)).unwrap_err();
    assert_eq!(over.retry_after, Duration::from_nanos(1_056 - 200));
    assert!(logs.admit(&of(5), at(1_056)).is_ok());
}

#[test]
fn rates_that_are_no_longer_in_force_are_dropped_and_forgotten_by_no_other() {
    let logs = Logs::default();
    let of = |requests| [dimension(LimitKey::Global, requests, u64::MAX)];
    for requests in 1..=200 {
        assert!(logs.admit(&of(requests), at(u64::from(requests))).is_ok(), "{requests}");
        assert!(logs.admit(&of(requests), at(u64::from(requests))).is_err(), "{requests}");
    }
    assert!(logs.len() <= MOST_RATES, "{}", logs.len());
    for requests in (1..=200).rev() {
        assert!(logs.admit(&of(requests), at(1_000)).is_err(), "{requests}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever the rate was before: an admission by the rate in force is one of at most N in its span. As long as the history is
    /// not coarse, nothing is refused that the rate in force admits.
    #[test]
    fn a_rate_that_changes_counts_every_admission(
        steps in prop::collection::vec((0..12_usize, 0..40_u64), 1..200), changes in 1..60_usize,
    ) {
        let rates: Vec<_> = [1_u32, 2, 5, 11].iter().flat_map(|n| [20_u64, 100, 700].map(|per| (*n, per))).collect();
        let logs = Logs::default();
        let (mut now, mut times) = (0, Vec::<u64>::new());
        let mut rate = rates[0];
        for (n, (which, step)) in steps.into_iter().enumerate() {
            if n % changes == 0 {
                rate = rates[which];
            }
            now += step / 3;
            let (requests, per) = rate;
            let found = logs.admit(&[dimension(LimitKey::Global, requests, per)], at(now));
            let nth_last = times.len().checked_sub(requests as usize).map(|n| times[n]);
            let wait = nth_last.map_or(0, |time| (time + per).saturating_sub(now));
            match found {
                Ok(()) => prop_assert_eq!(wait, 0, "admitted beyond {} in {}", requests, per),
                Err(over) if times.len() <= 60 => {
                    prop_assert_eq!(u128::from(wait), over.retry_after.as_nanos());
                    prop_assert!(wait > 0);
                }
                Err(_) => {}
            }
            if found.is_ok() {
                times.push(now);
            }
        }
    }

    /// The same with groups: at most 0.1% less is admitted than by exact logs.
    #[test]
    fn a_large_rate_that_changes_counts_every_admission(
        changes in prop::collection::vec((0..6_usize, 0..60_u64, 1..4_000_usize), 1..12),
    ) {
        let rates = [(3_u32, 100_u64), (900, 100), (1_500, 100), (5_000, 300), (1_024, 20), (2_047, 100)];
        let logs = Logs::default();
        let (mut now, mut times) = (0, Vec::<u64>::new());
        for (which, step, calls) in changes {
            now += step;
            let (requests, per) = rates[which];
            let before = times.len();
            for _ in 0..calls {
                if logs.admit(&[dimension(LimitKey::Global, requests, per)], at(now)).is_err() {
                    break;
                }
                times.push(now);
            }
            let within = times.iter().rev().take_while(|time| **time + per > now).count();
            prop_assert!(times.len() == before || within <= requests as usize, "{} of {} in {}", within, requests, per);
        }
    }
}
