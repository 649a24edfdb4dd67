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
            Err(OverBudget::OfAll) => Err(self.refuse(caller, Refusal::Overloaded)),
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
        guard::fixtures::{self, identity_in},
        identity::fixtures::{client, credentials},
        limiter::{LimitStore, StoreFuture},
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
