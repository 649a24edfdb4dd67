//! One call, from its name and arguments to its outcome: first everything that needs the request, at once, then everything that
//! may wait.

use std::{borrow::Cow, time::Instant};

use bytes::Bytes;
use portcullis_crds::{contract::Effect, nearest::nearest};

use super::{
    Caller, Delivery, Guard, Outcome, Reply, answers,
    arguments::{self, InvalidArguments},
    authorise::{Denied, authorise, meet},
    checks::PendingCheck,
    limits,
    records::MaxRecords,
};
use crate::{
    audit::{
        Reservation,
        arguments::ArgumentShape,
        record::{CallEnd, CallError, CallStart, Record},
    },
    backend::{Effected, Failure, Origin, Output, PreparedCall},
    cancellation::Cancellation,
    config::Tool,
    limiter::InFlightGuard,
    metrics::CallOutcome,
    protocol::{refusal::Refusal, result::ToolResult, strict::Node, trace::TraceContext},
};

/// A call that its caller may make and that fits the tool. It borrows nothing of the request: the bytes that were sent, and the
/// tree that they were parsed into, need not be kept while the call waits.
pub struct Prepared<'a> {
    began: Instant,
    tool: &'a Tool,
    shape: Option<ArgumentShape>,
    /// The arguments, if it takes long to check them.
    pub(super) check: Option<PendingCheck>,
    call: PreparedCall<'a>,
    /// The limit of records that was put in for the caller.
    asked: Option<u64>,
    /// The trace of which the caller says that the call belongs to it.
    trace: Option<Box<TraceContext>>,
}

impl Prepared<'_> {
    /// The same call, as a part of a trace.
    pub fn within(self, trace: Option<TraceContext>) -> Self {
        Self { trace: trace.map(Box::new), ..self }
    }
}

impl Guard {
    /// The first half of the chain: permission, then arguments.
    ///
    /// # Errors
    /// Returns an error if the caller may not call the tool, or if the arguments do not fit it; it was recorded.
    pub fn prepare<'a>(
        &self,
        caller: Caller<'a>,
        name: &str,
        arguments: Option<Node<'_>>,
    ) -> Result<Prepared<'a>, Refusal> {
        let began = Instant::now();
        let Caller { snapshot, identity, .. } = caller;
        let tool = authorise(snapshot.tools.by_name.get(name), identity)
            .map_err(|denied| self.deny(caller, name, denied, began))?;
        let invalid = |invalid| self.refuse_arguments(caller, tool, invalid, began);

        let sent = arguments::bounded(arguments).map_err(invalid)?;
        let shape = snapshot.records_arguments.then(|| tool.declared.shape_of(&sent, &snapshot.digest_key));
        let mut arguments = arguments::without_nulls(sent, tool);
        let check = arguments::validate(&arguments, tool).map_err(invalid)?;
        let mut limit = String::new();
        let asked = arguments::limited(&mut arguments, tool, identity.client.max_records, &mut limit);
        meet(tool, identity, &arguments).map_err(|denied| self.deny(caller, name, denied, began))?;
        let call =
            tool.work.prepare(&arguments, identity.fingerprint).map_err(|unsendable| invalid(unsendable.into()))?;
        Ok(Prepared { began, tool, shape, check, call, asked, trace: None })
    }

    /// The second half: calls in flight, a check that takes long, audit room, limits, backend, records. Nothing is refused after
    /// the backend was called. If this future is dropped after the start of the call was recorded, the end is recorded as
    /// `disconnected`.
    pub async fn call(&self, caller: Caller<'_>, prepared: Prepared<'_>, cancellation: &Cancellation) -> Outcome {
        let Prepared { began, tool, shape, check, call, asked, trace } = prepared;
        let refused = |refusal: &Refusal| {
            tool.metrics.call(outcome_of(refusal), began.elapsed());
            self.count_refused_call(caller);
        };

        let in_flight = self.enter(caller, tool).await.inspect_err(refused)?;
        let Ok(dimensions) = limits::of_call(caller.identity, tool, caller.snapshot.replicas) else {
            let refusal = self.refuse_unchecked(caller, tool.name.as_str());
            refused(&refusal);
            return Err(refusal);
        };
        if let Some(check) = check {
            // What few calls need has memory of its own, here and below.
            let verdict = Box::pin(self.judge(caller, tool, &dimensions, check)).await.inspect_err(refused)?;
            verdict.map_err(|invalid| self.refuse_arguments(caller, tool, invalid, began))?;
        }
        let room = self.audit.reserve(caller.snapshot.overflow);
        let mut room = room.map_err(|_| Refusal::AuditUnavailable).inspect_err(refused)?;
        let receipt = self.admit(caller, tool, &dimensions).await.inspect_err(refused)?;
        let store = &caller.snapshot.limit_store;

        // The call may have waited. It is made only if the policy that is in force now permits it.
        let current = self.outdated(caller);
        let again = current.as_deref().map(|snapshot| self.permit_again(snapshot, caller, tool, began)).transpose();
        let started = match &again {
            Ok(again) => {
                let caller = caller.renewed(again.as_deref());
                let trace = trace
                    .map(|trace| *trace)
                    .or_else(|| call.is_request().then(|| TraceContext::of_call(room.execution_id())));
                let start = CallStart {
                    who: caller.who(),
                    tool: tool.name.as_str(),
                    effect: tool.effect,
                    trace: trace.as_ref(),
                    arguments: shape.as_ref(),
                };
                let started = self.start(&start, &mut room).await.inspect_err(refused);
                started.map(|()| (caller, trace))
            }
            Err(refusal) => Err(refusal.clone()),
        };
        match started {
            Ok((caller, trace)) => {
                if let Some(trace) = trace.filter(|_| call.is_request()) {
                    call.set_origin(Origin { client: caller.identity.client.id.clone(), trace });
                }
                let output = call.run(tool.timeout, cancellation, || self.withdrawn(caller, tool)).await;
                if matches!(output, Err(Failure::Withdrawn)) {
                    store.take_back(receipt).await;
                }
                Ok(self.conclude(caller, (tool, began, asked), output, (room, in_flight)).await)
            }
            Err(refusal) => {
                // Nothing was done, so nothing is used up.
                store.take_back(receipt).await;
                Err(refusal)
            }
        }
    }

    /// Records the start of a call. That of one that writes is written out before its backend is called.
    async fn start(&self, start: &CallStart<'_>, room: &mut Reservation) -> Result<(), Refusal> {
        room.start(start);
        match start.effect {
            Effect::Write => Box::pin(room.written()).await.map_err(|_| Refusal::AuditUnavailable),
            Effect::Read => Ok(()),
        }
    }

    /// Records how a call ended.
    async fn conclude(
        &self,
        caller: Caller<'_>,
        (tool, began, asked): (&Tool, Instant, Option<u64>),
        output: Result<Output, Failure>,
        (mut room, in_flight): (Reservation, InFlightGuard),
    ) -> Reply {
        let count = |outcome| tool.metrics.call(outcome, began.elapsed());
        let identity = caller.identity.fingerprint;
        let max = MaxRecords { records: caller.identity.client.max_records, asked };
        let bounded = match output {
            Ok(output) => self.answers.bound(&self.checks, identity, tool, output, max).await,
            Err(failure) => Err(failure),
        };
        let retry_after = bounded.as_ref().err().and_then(Failure::retry_after);
        let (members, truncated, share) = match bounded {
            Ok((bounded, share)) => {
                count(CallOutcome::Success);
                let bytes = bounded.members.len() as u64;
                let backend = tool.work.backend();
                let left_out = bounded.is_unstructured.then_some(CallError::AnswerNonconforming { backend });
                room.conclude(&CallEnd::Success { records_returned: bounded.records, bytes, left_out });
                (bounded.members, bounded.truncated, share)
            }
            Err(failure) => {
                let (error, has_effect) = (failure.record(tool.work.backend()), has_effect(tool, &failure));
                let is_cancelled = matches!(error, CallError::Cancelled);
                let members = failed(tool, &failure);
                if has_effect {
                    count(CallOutcome::Success);
                    let bytes = members.len() as u64;
                    room.conclude(&CallEnd::Success { records_returned: None, bytes, left_out: Some(error) });
                } else {
                    count(match error {
                        CallError::Cancelled => CallOutcome::Cancelled,
                        CallError::AccessEnded => CallOutcome::Denied,
                        _ => CallOutcome::Error,
                    });
                    room.conclude(&CallEnd::Error(error));
                }
                if is_cancelled {
                    // Nobody waits for its answer.
                    room.delivered();
                }
                (members, false, None)
            }
        };
        let delivery = Box::new(Delivery { room, _in_flight: in_flight, _share: share });
        Reply { members, truncated, retry_after, delivery }
    }

    pub(super) fn deny(&self, caller: Caller<'_>, name: &str, denied: Denied<'_>, began: Instant) -> Refusal {
        if let Some(tool) = denied.tool {
            tool.metrics.call(CallOutcome::Denied, began.elapsed());
        }
        let tool = denied.tool.map(|tool| tool.name.as_str());
        let Denied { denial, condition, .. } = denied;
        let record = Record::ToolAccessDenied { who: caller.who(), tool, denial, condition, enforced: true };
        if condition.is_some() {
            // The client knows the tool.
            return self.refuse_within_allowance(
                caller,
                &record,
                Refusal::ToolDenied { name: name.to_owned(), near: None },
            );
        }
        // Of the tools that the client sees only: what is said of a tool that it may not call is what is said of one that does not exist.
        let Caller { snapshot, identity, .. } = caller;
        let seen = snapshot.tools.by_name.iter().filter(|(_, tool)| authorise(Some(tool), identity).is_ok());
        let near = nearest(name, seen.map(|(name, _)| name.as_str())).map(str::to_owned);
        self.refuse_within_allowance(caller, &record, Refusal::ToolDenied { name: name.to_owned(), near })
    }

    fn refuse_arguments(&self, caller: Caller<'_>, tool: &Tool, invalid: InvalidArguments, began: Instant) -> Refusal {
        tool.metrics.call(CallOutcome::Invalid, began.elapsed());
        let InvalidArguments { message, keyword, path, is_malformed } = invalid;
        let record = Record::ArgumentsRefused { who: caller.who(), tool: tool.name.as_str(), keyword, path: &path };
        let refusal = match is_malformed {
            true => Refusal::InvalidParams(Cow::Owned(message)),
            false => Refusal::InvalidArguments(message),
        };
        self.refuse_within_allowance(caller, &record, refusal)
    }
}

/// Whether a call wrote, although there is nothing to show for it.
fn has_effect(tool: &Tool, failure: &Failure) -> bool {
    tool.effect == Effect::Write && failure.effected() == Effected::Yes
}

/// The result of a call without a usable response. One that wrote is never said to have failed, because a model would repeat it.
fn failed(tool: &Tool, failure: &Failure) -> Bytes {
    let why = failure.message(tool.work.backend());
    let text = match failure.effected() {
        Effected::Yes if has_effect(tool, failure) => return answers::without_content(&why, tool).into(),
        Effected::Unknown if tool.effect == Effect::Write => {
            // The text of a backend may have no end.
            let end = if why.ends_with(['.', '!', '?']) { "" } else { "." };
            format!("{why}{end} Whether the call had an effect is not known.")
        }
        _ => why,
    };
    ToolResult::of_text(&text, true).members().into()
}

/// How a call that was prepared is counted if it is refused.
fn outcome_of(refusal: &Refusal) -> CallOutcome {
    match refusal {
        Refusal::AuditUnavailable => CallOutcome::Blocked,
        Refusal::LimitsUnavailable => CallOutcome::Unavailable,
        Refusal::Overloaded => CallOutcome::Overloaded,
        _ => CallOutcome::Limited,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future, pending},
        sync::Arc,
        time::Duration,
    };

    use futures::FutureExt;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        backend::{Content, Exchange, Sent, fake},
        config::Snapshot,
        config::fixtures::{policy, snapshot},
        guard::fixtures::{self, Log, identity_in},
        identity::fixtures::{client, credentials},
        net::Held,
    };

    /// Calls `greet`, whose backend does what the closure returns. Returns the outcome (`None` if the caller disconnected) and
    /// the end of the call in the audit log.
    async fn call(
        exchange: impl Fn() -> Exchange + Send + Sync + 'static,
        cancellation: Cancellation,
        disconnected: impl Future<Output = ()>,
    ) -> (Option<Result<Bytes, Refusal>>, Value) {
        let (guard, log) = fixtures::guard();
        let snapshot = snapshot_with(exchange);
        let identity = identity_in(&snapshot, "a");
        let caller = fixtures::caller(&snapshot, &identity);
        let prepared = guard.prepare(caller, "greet", None).unwrap();
        let outcome = tokio::select! {
            outcome = guard.call(caller, prepared, &cancellation) => Some(outcome),
            () = disconnected => None,
        };
        let outcome = outcome.map(|outcome| {
            outcome.map(|reply| {
                let Reply { members, mut delivery, .. } = reply;
                delivery.written();
                members
            })
        });
        (outcome, end(&guard, &log))
    }

    fn snapshot_with(exchange: impl Fn() -> Exchange + Send + Sync + 'static) -> Snapshot {
        let policy = policy(&[client("a", &json!({}))]);
        let mut snapshot = snapshot(&policy, &credentials(&["a"]));
        let tools = Arc::get_mut(&mut snapshot.tools).unwrap();
        tools.by_name.get_mut("greet").unwrap().work = fake::tool_work(exchange);
        snapshot
    }

    fn end(guard: &Guard, log: &Log) -> Value {
        assert!(guard.audit.stop(Duration::from_secs(60)));
        let records = log.records();
        let end = &records[records.len() - 1];
        json!([records.len(), end["event"], end["error"], end["recordsReturned"]])
    }

    #[tokio::test]
    async fn what_is_not_known_of_an_output_is_recorded_as_unknown() {
        let content = Content { blocks: r#"[{"type":"image"}]"#.into(), structured: None, is_error: false };
        for (output, members, records) in [
            (Output::json(Bytes::from_static(b"[1]")), r#""structuredContent":{"result":[1]}"#, json!(1)),
            (Output::Content(content), r#""content":[{"type":"image"}]"#, Value::Null),
            (Output::Opaque("raw".into()), r#""content":[{"type":"text","text":"raw"}]"#, Value::Null),
        ] {
            let exchange = move || Exchange::Known(output.clone());
            let (outcome, end) = call(exchange, Cancellation::never(), pending()).await;
            let text = String::from_utf8(outcome.unwrap().unwrap().to_vec()).unwrap();
            assert!(text.contains(members), "{text}");
            assert_eq!(end, json!([2, "tool_call_success", null, records]));
        }
    }

    #[tokio::test]
    async fn a_call_that_is_cancelled_ends_at_its_backend_and_in_the_log() {
        let (canceller, cancellation) = Cancellation::pair();
        canceller.cancel();
        let (outcome, end) =
            call(|| Exchange::Pending(pending().boxed(), Sent::default()), cancellation, pending()).await;
        let members = outcome.unwrap().unwrap();
        assert_eq!(members, r#""content":[{"type":"text","text":"The call was cancelled."}],"isError":true"#);
        assert_eq!(end, json!([2, "tool_call_error", "cancelled", null]));
    }

    #[tokio::test]
    async fn a_caller_that_disconnects_is_recorded() {
        let disconnected = tokio::time::sleep(Duration::from_millis(10));
        let (outcome, end) =
            call(|| Exchange::Pending(pending().boxed(), Sent::default()), Cancellation::never(), disconnected).await;
        assert_eq!((outcome, end), (None, json!([2, "tool_call_error", "disconnected", null])));
    }

    #[tokio::test]
    async fn a_call_is_in_flight_until_its_answer_is_delivered_or_given_up() {
        let (guard, log) = fixtures::guard();
        let snapshot = snapshot_with(|| Exchange::Known(Output::json(Bytes::from_static(b"[1]"))));
        let identity = identity_in(&snapshot, "a");
        let caller = fixtures::caller(&snapshot, &identity);
        let mut replies = Vec::new();
        for _ in 0..32 {
            let prepared = guard.prepare(caller, "greet", None).unwrap();
            replies.push(guard.call(caller, prepared, &Cancellation::never()).await.unwrap());
        }
        let one_more = guard.prepare(caller, "greet", None).unwrap();
        let refused = guard.call(caller, one_more, &Cancellation::never()).await.err();
        assert_eq!(refused, Some(Refusal::OverLimit { seconds: 1 }));
        replies.pop().unwrap().delivery.written();
        drop(replies);
        let again = guard.prepare(caller, "greet", None).unwrap();
        guard.call(caller, again, &Cancellation::never()).await.unwrap().delivery.written();

        assert!(guard.audit.stop(Duration::from_secs(60)));
        let ends: Vec<_> = log.records().into_iter().filter(|it| it["event"] == "tool_call_success").collect();
        let delivered = ends.iter().filter(|end| end["delivered"] == Value::Null).count();
        let given_up = ends.iter().filter(|end| end["delivered"] == false).count();
        assert_eq!((delivered, given_up), (2, 31));
    }
}
