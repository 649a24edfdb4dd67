//! Taking a call from the limits: what the answers of a limit store mean for the call.

use super::{
    Caller, Guard,
    arguments::InvalidArguments,
    checks::{Checks, PendingCheck},
    limits,
};
use crate::{
    audit::record::{LimitName, NoKeyword, Record},
    config::Tool,
    limiter::{
        Admission, Dimension, Dimensions, InFlightGuard, LimitKey, LimitStore, OverLimit, Receipt, TooManyLimits,
    },
    net::OverBudget,
    protocol::refusal::Refusal,
};

/// The number of calls that one identity may have in flight.
const IN_FLIGHT: u32 = 32;
/// When a caller with too many calls in flight may try again: their ends cannot be predicted.
const IN_FLIGHT_RETRY_SECONDS: u64 = 1;

impl Guard {
    /// Counts a call as in flight.
    ///
    /// # Errors
    /// Returns an error if the identity has as many as it may have, or if too much of their answers is unread; it was recorded.
    pub(super) async fn enter(&self, caller: Caller<'_>, tool: &Tool) -> Result<InFlightGuard, Refusal> {
        let (identity, name) = (caller.identity.fingerprint, tool.name.as_str());
        let over = || self.refuse_over_limit(caller, Some(name), LimitName::InFlight, IN_FLIGHT_RETRY_SECONDS);
        let entered = self.in_flight.enter(identity, IN_FLIGHT).ok_or_else(over)?;
        match self.answers.admits_call(identity).await {
            Ok(()) => Ok(entered),
            Err(OverBudget::OfIdentity) => Err(over()),
            Err(OverBudget::OfAll) => Err(self.refuse_overloaded(caller)),
        }
    }

    /// Takes a call from every limit, or from none. If the store is unavailable, the call is refused before it has an effect.
    ///
    /// # Errors
    /// Returns an error if a limit is used up or the store is unavailable; it was recorded.
    pub(super) async fn admit<'a>(
        &self,
        caller: Caller<'a>,
        tool: &Tool,
        dimensions: &'a Dimensions,
    ) -> Result<Receipt<'a>, Refusal> {
        let tool = tool.name.as_str();
        match caller.snapshot.limit_store.admit(dimensions).await {
            Admission::Admitted(receipt) => Ok(receipt),
            Admission::Over(over) => Err(self.over(caller, Some(tool), dimensions, over)),
            Admission::Unavailable => Err(self.refuse_unchecked(caller, tool)),
        }
    }

    /// Checks arguments for which that takes long, if the call could be admitted now. Meanwhile the check is taken from the allowance,
    /// where it stays if the caller leaves before the verdict: that is recorded.
    ///
    /// # Errors
    /// Returns an error if a limit or the allowance is used up, or if the check is not possible now; it was recorded.
    pub(super) async fn judge(
        &self,
        caller: Caller<'_>,
        tool: &Tool,
        dimensions: &Dimensions,
        check: PendingCheck,
    ) -> Result<Result<(), InvalidArguments>, Refusal> {
        let name = tool.name.as_str();
        let turn = self.checks.turn(caller.identity.fingerprint).await;
        if let Some(over) = caller.snapshot.limit_store.used_up(dimensions) {
            return Err(self.over(caller, Some(name), dimensions, over));
        }
        let allowance = limits::of_request(caller.identity, caller.snapshot.replicas);
        let allowance = allowance.map_err(|TooManyLimits| self.refuse_unchecked(caller, name))?;
        let taken = self.allowance.take(&allowance);
        let taken = taken.map_err(|over| self.over(caller, Some(name), &allowance, over))?;
        let unjudged = Unjudged { guard: self, caller, tool: name };
        let verdict = Checks::run(turn, || check.judge()).await;
        std::mem::forget(unjudged);
        self.allowance.take_back(taken).await;
        let verdict = verdict.ok_or_else(|| self.refuse_overloaded(caller))?;
        Ok(verdict.map_err(Into::into).and_then(|verdict| verdict.map_err(Into::into)))
    }

    /// Records that a call cannot be served now; returns the refusal of it.
    pub(super) fn refuse_overloaded(&self, caller: Caller<'_>) -> Refusal {
        self.refuse_counted(caller, Refusal::Overloaded)
    }

    /// Records that the limits of a call could not be checked; returns the refusal of it.
    pub(super) fn refuse_unchecked(&self, caller: Caller<'_>, tool: &str) -> Refusal {
        let record = Record::LimitsUnavailable { who: caller.who(), tool };
        self.record_refusal(caller, &record, Refusal::LimitsUnavailable)
    }

    /// Records that a request is over a limit; returns the refusal of it.
    pub(super) fn over(
        &self,
        caller: Caller<'_>,
        tool: Option<&str>,
        dimensions: &[Dimension],
        over: OverLimit,
    ) -> Refusal {
        let limit = dimensions.get(over.dimension).map_or(LimitName::Client, |dimension| match dimension.key {
            LimitKey::Tool { .. } => LimitName::Tool,
            LimitKey::Identity(_) => LimitName::Client,
            LimitKey::RequestAllowance(_) => LimitName::RequestAllowance,
            LimitKey::Pool(_) => LimitName::Share,
            LimitKey::Global => LimitName::Global,
        });
        self.refuse_over_limit(caller, tool, limit, over.retry_after_seconds())
    }

    fn refuse_over_limit(&self, caller: Caller<'_>, tool: Option<&str>, limit: LimitName, seconds: u64) -> Refusal {
        let record = Record::RateLimitExceeded { who: caller.who(), tool, limit, retry_after_seconds: seconds };
        self.record_refusal(caller, &record, Refusal::OverLimit { seconds })
    }
}

/// Arguments that are being checked. If this is dropped, the caller left before the verdict.
struct Unjudged<'a> {
    guard: &'a Guard,
    caller: Caller<'a>,
    tool: &'a str,
}

impl Drop for Unjudged<'_> {
    fn drop(&mut self) {
        let (who, tool) = (self.caller.who(), self.tool);
        let keyword = NoKeyword::Disconnected.as_str();
        let record = Record::ArgumentsRefused { who, tool, keyword, path: "" };
        // Nobody is there to be told if the log is blocked.
        let _ = self.guard.audit.record(&record, self.caller.snapshot.overflow);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures::future::{Either, ready};
    use serde_json::json;

    use super::*;
    use crate::{
        cancellation::Cancellation,
        config::fixtures::{policy, snapshot},
        fingerprint::Fingerprint,
        guard::fixtures::{self, identity_in},
        identity::fixtures::{client, credentials},
        limiter::StoreFuture,
        net::Budget,
    };

    /// A store that cannot be reached.
    struct Unreachable;

    impl LimitStore for Unreachable {
        fn admit<'a>(&'a self, _: &'a Dimensions) -> StoreFuture<'a, Admission<'a>> {
            Either::Right(Box::pin(async { Admission::Unavailable }))
        }

        fn take_back<'a>(&'a self, _: Receipt<'a>) -> StoreFuture<'a, ()> {
            Either::Left(ready(()))
        }
    }

    #[tokio::test]
    async fn a_call_is_refused_before_it_has_an_effect_if_the_limits_cannot_be_checked() {
        let policy = policy(&[client("a", &json!({}))]);
        let mut snapshot = snapshot(&policy, &credentials(&["a"]));
        snapshot.limit_store = Arc::new(Unreachable);
        let identity = identity_in(&snapshot, "a");
        let caller = fixtures::caller(&snapshot, &identity);
        let (guard, log) = fixtures::guard();

        let prepared = guard.prepare(caller, "greet", None).unwrap();
        let refused = guard.call(caller, prepared, &Cancellation::never()).await.err();
        assert_eq!(refused, Some(Refusal::LimitsUnavailable));
        assert_eq!(Refusal::LimitsUnavailable.retry_after(), Some(1));
        // A request that is not a call needs no store.
        assert_eq!(guard.take_allowance(caller), Ok(()));

        assert!(guard.audit.stop(Duration::from_secs(60)));
        let recorded: Vec<_> = log.records().iter().map(|it| json!([it["event"], it["toolName"]])).collect();
        assert_eq!(recorded, [json!(["limits_unavailable", "greet"])]);
    }

    /// A snapshot whose client may make one call an hour, of a tool whose schema may take long to check.
    fn one_call_an_hour() -> crate::config::Snapshot {
        let mut policy = policy(&[client("a", &json!({"limits": [{"requests": 1, "per": "1h"}]}))]);
        policy["spec"]["tools"][0]["inputSchema"]["patternProperties"] = json!({"(a?){500}b": true});
        snapshot(&policy, &credentials(&["a"]))
    }

    #[tokio::test]
    async fn calls_over_a_limit_draw_on_the_allowance_and_are_recorded_by_their_limit() {
        let snapshot = one_call_an_hour();
        let identity = identity_in(&snapshot, "a");
        let caller = fixtures::caller(&snapshot, &identity);
        let (guard, log) = fixtures::guard();
        let call = async || {
            let prepared = guard.prepare(caller, "greet", None).unwrap();
            guard.call(caller, prepared, &Cancellation::never()).await.map(|_| ()).map_err(|refusal| refusal.code())
        };
        assert_eq!(call().await, Ok(()));
        for n in 0..10 {
            assert_eq!(call().await, Err(429), "{n}");
        }
        assert!(guard.take_allowance(caller).is_err());
        assert_eq!(call().await, Err(429));

        assert!(guard.audit.stop(Duration::from_secs(60)));
        let records = log.records().into_iter();
        let limits: Vec<_> =
            records.filter(|it| it["event"] == "rate_limit_exceeded").map(|it| it["limit"].clone()).collect();
        assert_eq!(limits, [["client"; 10].as_slice(), &["request_allowance", "client"]].concat());
    }

    #[tokio::test]
    async fn arguments_that_take_long_are_not_checked_for_a_caller_without_calls_or_without_allowance() {
        let snapshot = one_call_an_hour();
        let identity = identity_in(&snapshot, "a");
        let caller = fixtures::caller(&snapshot, &identity);
        let (guard, _) = fixtures::guard();
        // Takes more steps than any check has.
        let invalid = json!({"a".repeat(5_000): 1}).to_string();
        let valid = json!({"a".repeat(500): 1}).to_string();
        let call = async |arguments: &str| {
            let arguments = crate::protocol::strict::parse(arguments.as_bytes()).unwrap();
            let prepared = guard.prepare(caller, "greet", Some(arguments)).unwrap();
            guard.call(caller, prepared, &Cancellation::never()).await.map(|_| ()).map_err(|refusal| refusal.code())
        };
        assert_eq!(call(&invalid).await, Err(-32602));
        while guard.take_allowance(caller).is_ok() {}
        assert_eq!(call(&valid).await, Err(429));
        let prepared = guard.prepare(caller, "greet", None).unwrap();
        assert!(
            guard.call(caller, prepared, &Cancellation::never()).await.is_ok(),
            "what is checked at once needs no allowance"
        );

        let mut guard = guard;
        guard.allowance = Default::default();
        let prepared =
            guard.prepare(caller, "greet", Some(crate::protocol::strict::parse(invalid.as_bytes()).unwrap()));
        let outcome = guard.call(caller, prepared.unwrap(), &Cancellation::never()).await;
        assert_eq!(outcome.err().map(|refusal| refusal.code()), Some(429), "its only call was made");
    }

    #[tokio::test]
    async fn a_check_takes_from_the_allowance_if_its_caller_leaves_and_nothing_if_the_arguments_are_valid() {
        let snapshot = one_call_an_hour();
        let identity = identity_in(&snapshot, "a");
        let caller = fixtures::caller(&snapshot, &identity);
        let (guard, log) = fixtures::guard();
        let valid = json!({"a".repeat(500): 1}).to_string();
        let prepared = || {
            let arguments = crate::protocol::strict::parse(valid.as_bytes()).unwrap();
            guard.prepare(caller, "greet", Some(arguments)).unwrap()
        };
        let never = Cancellation::never();
        for n in 0..10 {
            // Once no earlier check runs, the first poll begins this one.
            drop(guard.checks.turn(identity.fingerprint).await);
            let mut call = Box::pin(guard.call(caller, prepared(), &never));
            assert!(futures::poll!(&mut call).is_pending(), "{n}");
        }
        let refused = guard.call(caller, prepared(), &never).await.err();
        assert_eq!(refused.map(|refusal| refusal.code()), Some(429), "the allowance is used up");
        assert!(guard.audit.stop(Duration::from_secs(60)));
        let found: Vec<_> = log.records().iter().map(|it| json!([it["event"], it["keyword"], it["limit"]])).collect();
        let left = json!(["arguments_refused", "disconnected", null]);
        assert_eq!(found, [vec![left; 10], vec![json!(["rate_limit_exceeded", null, "request_allowance"])]].concat());

        let (guard, _) = fixtures::guard();
        let arguments = crate::protocol::strict::parse(valid.as_bytes()).unwrap();
        let prepared = guard.prepare(caller, "greet", Some(arguments)).unwrap();
        assert!(guard.call(caller, prepared, &never).await.is_ok());
        assert_eq!((0..20).filter(|_| guard.take_allowance(caller).is_ok()).count(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_room_for_its_answer_is_recorded_with_its_status() {
        let snapshot = one_call_an_hour();
        let identity = identity_in(&snapshot, "a");
        let mut caller = fixtures::caller(&snapshot, &identity);
        caller.via.status = |refusal| (*refusal == Refusal::Overloaded).then_some(503);
        let (mut guard, log) = fixtures::guard();
        guard.answers.budget = Budget::new(4, 4);
        let mut of_others = guard.answers.budget.share(Fingerprint::of(&["other"]));
        of_others.grow(4).unwrap();
        of_others.settle(4);
        let prepared = guard.prepare(caller, "greet", None).unwrap();
        let refused = guard.call(caller, prepared, &Cancellation::never()).await.err();
        assert_eq!(refused, Some(Refusal::Overloaded));

        assert!(guard.audit.stop(Duration::from_secs(60)));
        let recorded: Vec<_> = log.records().iter().map(|it| json!([it["event"], it["status"], it["code"]])).collect();
        assert_eq!(recorded, [json!(["request_refused", 503, 503])]);
    }

    #[tokio::test]
    async fn a_client_with_more_limits_than_there_is_room_for_is_refused_and_nothing_panics() {
        let snapshot = snapshot(&policy(&[client("a", &json!({}))]), &credentials(&["a"]));
        let limits = vec![json!({"requests": 100, "per": "1s"}); 9];
        let client = fixtures::client(&json!({"tools": ["greet"], "limits": limits}));
        let identity = fixtures::identity(&client);
        let caller = fixtures::caller(&snapshot, &identity);
        let (guard, log) = fixtures::guard();

        let prepared = guard.prepare(caller, "greet", None).unwrap();
        let refused = guard.call(caller, prepared, &Cancellation::never()).await.err();
        assert_eq!(
            (refused, guard.take_allowance(caller)),
            (Some(Refusal::LimitsUnavailable), Err(Refusal::LimitsUnavailable))
        );

        assert!(guard.audit.stop(Duration::from_secs(60)));
        let recorded: Vec<_> = log.records().iter().map(|it| it["event"].clone()).collect();
        assert_eq!(recorded, ["limits_unavailable", "request_refused"]);
    }
}
