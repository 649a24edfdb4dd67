//! Taking a call from the limits: what the answers of a limit store mean for the call.

use super::{Caller, Guard};
use crate::{
    audit::record::{LimitName, Record},
    config::Tool,
    limiter::{Admission, Dimension, Dimensions, InFlightGuard, LimitKey, OverLimit, Receipt},
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

    /// Whether a call could be admitted now, and its refusal be paid for. Takes nothing.
    ///
    /// # Errors
    /// Returns an error if a limit or the allowance is used up; it was recorded.
    pub(super) fn ask(&self, caller: Caller<'_>, tool: &Tool, dimensions: &Dimensions) -> Result<(), Refusal> {
        let tool = tool.name.as_str();
        match caller.snapshot.limit_store.used_up(dimensions) {
            None => self.ask_allowance(caller, tool),
            Some(over) => Err(self.over(caller, Some(tool), dimensions, over)),
        }
    }

    /// Records that a call cannot be served now; returns the refusal of it.
    pub(super) fn refuse_overloaded(&self, caller: Caller<'_>) -> Refusal {
        let refusal = Refusal::Overloaded;
        let (status, code) = ((caller.via.status)(&refusal), Some(refusal.code()));
        self.record_refusal(caller, &Record::RequestRefused { who: caller.who(), status, code }, refusal)
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
        limiter::{LimitStore, StoreFuture},
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

        assert!(guard.audit.stop(Duration::from_secs(5)));
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

        assert!(guard.audit.stop(Duration::from_secs(5)));
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

        assert!(guard.audit.stop(Duration::from_secs(5)));
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

        assert!(guard.audit.stop(Duration::from_secs(5)));
        let recorded: Vec<_> = log.records().iter().map(|it| it["event"].clone()).collect();
        assert_eq!(recorded, ["limits_unavailable", "request_refused"]);
    }
}
