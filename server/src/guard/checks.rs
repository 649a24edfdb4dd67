//! Checks of arguments and answers that take long: on threads of their own, so that they never hold one that serves.
//!
//! How many run at once is bounded, they yield to everything else of the process, and one identity has no more than one of them in
//! progress: its others wait for that one, and nobody else does.

use std::thread;

use portcullis_crds::schema::{Exhausted, InputSchema, Instance, Steps, Violation};
use tokio::sync::oneshot;

use super::turns::{Turn, Turns};
use crate::fingerprint::Fingerprint;

/// How much longer than other threads these wait for a processor.
const NICENESS: i32 = 10;

/// The threads, and who waits for them. Clones share them.
#[derive(Clone, Default)]
pub struct Checks {
    turns: Turns,
}

/// Arguments that are not judged yet.
#[derive(Debug)]
pub struct PendingCheck {
    pub schema: InputSchema,
    pub arguments: Instance,
    pub steps: Steps,
}

impl PendingCheck {
    /// # Errors
    /// Returns the first violation, or an error if the check takes more than its steps.
    pub fn judge(self) -> Result<Result<(), Violation>, Exhausted> {
        self.schema.check(&self.arguments, self.steps)
    }
}

impl Checks {
    /// Waits until the earlier checks of an identity are over, and until there is a processor for another one.
    pub async fn turn(&self, identity: Fingerprint) -> Turn {
        self.turns.take(identity).await
    }

    /// Checks arguments in their turn. `None` if that is not possible now: there is no thread for it, or it panicked. If this future is
    /// dropped, a check that runs goes on to its end, which its steps bound.
    pub async fn run<T: Send + 'static>(turn: Turn, check: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, verdict) = oneshot::channel();
        let work = move || {
            let _ = rustix::process::nice(NICENESS);
            let verdict = check();
            drop(turn);
            let _ = sender.send(verdict);
        };
        thread::Builder::new().name("check".into()).spawn(work).ok()?;
        verdict.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    async fn run<T: Send + 'static>(
        checks: &Checks,
        identity: Fingerprint,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        Checks::run(checks.turn(identity).await, check).await
    }

    /// A check that takes this many steps before it gives up: every member is compared with a pattern.
    fn check(steps: u64) -> impl FnOnce() -> Result<Result<(), Violation>, Exhausted> + Send + 'static {
        let schema = json!({"type": "object", "patternProperties": {"(a?){500}b": true}});
        let schema = schema.as_object().map(|schema| InputSchema::compile(schema, &mut Default::default())).unwrap();
        let arguments: Value =
            (0..500).map(|n| (format!("{n}{}", "a".repeat(500)), json!(1))).collect::<serde_json::Map<_, _>>().into();
        let (schema, arguments) = (schema.unwrap(), Instance::new(&arguments));
        move || PendingCheck { schema, arguments, steps: Steps::new(steps) }.judge()
    }

    #[tokio::test]
    async fn the_checks_of_one_identity_wait_for_each_other_and_hold_up_no_other_one() {
        let checks = Checks { turns: Turns::new(2) };
        let [one, other] = ["one", "other"].map(|name| Fingerprint::of(&[name]));
        let long: Vec<_> = (0..8).map(|_| run(&checks, one, check(400_000))).collect();
        let long = futures::future::join_all(long);
        tokio::pin!(long);
        // All of the first identity have begun, and the other one's is over before they are.
        tokio::select! {
            biased;
            _ = &mut long => panic!("eight long checks cannot be over first"),
            verdict = async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                run(&checks, other, check(1_000)).await
            } => assert_eq!(verdict, Some(Err(Exhausted))),
        }
        assert!(long.await.iter().all(|verdict| *verdict == Some(Err(Exhausted))));
        assert_eq!(checks.turns.identities(), 0);
    }

    #[tokio::test]
    async fn a_check_that_panics_has_no_verdict_and_the_next_one_has() {
        let checks = Checks::default();
        let one = Fingerprint::of(&["one"]);
        let panicking = || -> bool { panic!("a planned panic") };
        assert_eq!(run(&checks, one, panicking).await, None);
        assert_eq!(run(&checks, one, || true).await, Some(true));
        assert_eq!(checks.turns.identities(), 0);
    }

    #[tokio::test]
    async fn callers_that_leave_are_forgotten_whenever_they_do() {
        let checks = Checks { turns: Turns::new(1) };
        let identities: Vec<_> = (0..20).map(|n| Fingerprint::of(&[&n.to_string()])).collect();
        // One whose check runs, one that waits for its own check before, and others that wait for a thread.
        let mut waiting: Vec<_> =
            identities.iter().chain([&identities[0]]).map(|who| Box::pin(run(&checks, *who, check(400_000)))).collect();
        for call in &mut waiting {
            assert!(futures::poll!(call).is_pending());
        }
        assert_eq!(checks.turns.identities(), 20);
        drop(waiting);
        assert_eq!(checks.turns.identities(), 1, "the check that runs goes on to its end");
        let began = std::time::Instant::now();
        while checks.turns.identities() > 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "never forgotten");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(run(&checks, identities[0], check(1_000)).await, Some(Err(Exhausted)), "there is room again");
    }
}
