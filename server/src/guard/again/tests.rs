use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use futures::{FutureExt, future::Either, poll};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    backend::{Exchange, Output, Sent, fake},
    cancellation::Cancellation,
    config::fixtures::{policy, snapshot},
    guard::{
        Checks,
        fixtures::{self, identity_in},
        limits,
    },
    identity::fixtures::{client, credentials},
    limiter::{Admission, Dimensions, LimitStore, MemoryStore, Receipt, StoreFuture},
};

/// Longer than anything in a test takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A limit store that answers when it is let to.
struct SlowStore {
    memory: MemoryStore,
    answers: Semaphore,
}

impl LimitStore for SlowStore {
    fn admit<'a>(&'a self, dimensions: &'a Dimensions) -> StoreFuture<'a, Admission<'a>> {
        Either::Right(Box::pin(async {
            self.answers.acquire().await.unwrap().forget();
            self.memory.admit(dimensions).await
        }))
    }

    fn take_back<'a>(&'a self, receipt: Receipt<'a>) -> StoreFuture<'a, ()> {
        self.memory.take_back(receipt)
    }
}

/// The policy of a client that may make one call, with these fields in place of others, and with a tool that writes.
fn policy_of(fields: &Value) -> Value {
    let mut of_client = json!({"allowWrite": true, "limits": [{"requests": 1, "per": "1h"}]});
    of_client.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let mut policy = policy(&[client("a", &of_client)]);
    policy["spec"]["tools"][0]["effect"] = json!("Write");
    // Takes more steps than there are for a check at once.
    policy["spec"]["tools"][0]["inputSchema"]["patternProperties"] = json!({"(a?){500}b": true});
    policy
}

/// Puts `policy` and the credentials of `keys` in force while a call waits for the limit store, or for its check. Returns the
/// refusal of the call, its record, and the number of calls that its limit admits afterwards.
async fn changed_meanwhile(waits_for_check: bool, policy: &Value, keys: &[&str]) -> (Option<Refusal>, Value, usize) {
    let slow = Arc::new(SlowStore { memory: MemoryStore::default(), answers: Semaphore::new(0) });
    let snapshot_of = |policy: &Value, keys: &[&str]| {
        let mut snapshot = snapshot(policy, &credentials(keys));
        snapshot.limit_store = slow.clone();
        Arc::new(snapshot)
    };
    let before = snapshot_of(&policy_of(&json!({})), &["a"]);
    let identity = identity_in(&before, "a");
    let (guard, log) = fixtures::guard();
    guard.store.put(before.clone());
    let caller = fixtures::caller(&before, &identity);
    let arguments = json!({"a".repeat(500): 1}).to_string();
    let arguments = waits_for_check.then(|| crate::protocol::strict::parse(arguments.as_bytes()).unwrap());
    let prepared = guard.prepare(caller, "greet", arguments).unwrap();
    assert_eq!(prepared.check.is_some(), waits_for_check);

    let (end, ended) = mpsc::channel::<()>();
    let earlier =
        async { Checks::run(guard.checks.turn(identity.fingerprint).await, move || ended.recv().is_err()).await };
    let mut earlier = waits_for_check.then(|| Box::pin(earlier));
    if let Some(earlier) = &mut earlier {
        assert!(poll!(earlier).is_pending());
    }
    let never = Cancellation::never();
    let mut call = std::pin::pin!(guard.call(caller, prepared, &never));
    assert!(poll!(&mut call).is_pending());

    guard.store.put(snapshot_of(policy, keys));
    drop(end);
    slow.answers.add_permits(1);
    let refusal = call.await.map(|mut reply| crate::net::Held::written(&mut *reply.delivery)).err();
    drop(earlier);

    let dimensions = limits::of_call(&identity, &before.tools.by_name["greet"], 1).unwrap();
    let left = (0..2).filter(|_| slow.memory.take(&dimensions).is_ok()).count();
    assert!(guard.audit.stop(PATIENCE));
    let records = log.records();
    let record = json!([records.len(), records[0]["event"], records[0]["reason"], records[0]["revision"]]);
    (refusal, record, left)
}

#[tokio::test]
async fn a_call_is_not_made_if_the_access_of_its_caller_ended_while_it_waited() {
    let unrecognised = Refusal::ClientRefused("Client not recognised");
    let denied = Refusal::ToolDenied { name: "greet".into(), near: None };
    let mut without_tool = policy_of(&json!({}));
    without_tool["spec"]["tools"][0]["name"] = json!("other");
    for waits_for_check in [false, true] {
        for (policy, keys, expected, event, reason) in [
            (policy_of(&json!({"suspended": true})), ["a"], unrecognised.clone(), "client_refused", "suspended"),
            (policy_of(&json!({"uid": "later"})), ["a"], unrecognised.clone(), "client_refused", "not_recognised"),
            (policy_of(&json!({})), ["b"], Refusal::Unauthenticated("Invalid API key"), "auth_failed", "unknown_key"),
            (policy_of(&json!({"tools": ["other"]})), ["a"], denied.clone(), "tool_access_denied", "not_granted"),
            (
                policy_of(&json!({"allowWrite": false})),
                ["a"],
                denied.clone(),
                "tool_access_denied",
                "write_not_allowed",
            ),
            (without_tool.clone(), ["a"], denied.clone(), "tool_access_denied", "unknown"),
        ] {
            let (refusal, record, left) = changed_meanwhile(waits_for_check, &policy, &keys).await;
            assert_eq!(
                (refusal, &record[0], &record[1], &record[2]),
                (Some(expected), &json!(1), &json!(event), &json!(reason))
            );
            assert_eq!(left, 1, "a call that is refused uses up no limit");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_still_permitted_is_made_and_recorded_under_the_policy_in_force() {
    let later = policy_of(&json!({"maxRecordsPerQuery": 7}));
    let revision = snapshot(&later, &credentials(&["a"])).revision;
    for waits_for_check in [false, true] {
        let (refusal, record, left) = changed_meanwhile(waits_for_check, &later, &["a"]).await;
        assert_eq!((refusal, record, left), (None, json!([2, "tool_call_start", null, revision]), 0));
    }
}

#[tokio::test]
async fn a_call_is_not_made_if_its_caller_expired_while_it_waited() {
    // It was identified long ago, and has expired since.
    let expired = Timestamp::now() - SignedDuration::from_secs(1);
    let mut before = snapshot(&policy_of(&json!({"expiresAt": expired})), &credentials(&["a"]));
    let slow = Arc::new(SlowStore { memory: MemoryStore::default(), answers: Semaphore::new(0) });
    before.limit_store = slow.clone();
    let before = Arc::new(before);
    let identity = identity_in(&before, "a");
    let (guard, _) = fixtures::guard();
    guard.store.put(before.clone());
    let caller = fixtures::caller(&before, &identity);
    let (prepared, never) = (guard.prepare(caller, "greet", None).unwrap(), Cancellation::never());
    let mut call = std::pin::pin!(guard.call(caller, prepared, &never));
    assert!(poll!(&mut call).is_pending());
    slow.answers.add_permits(1);
    assert_eq!(call.await.err(), Some(Refusal::ClientRefused("Client not recognised")));
}

/// How the access of a caller ends whose call waits for a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    Suspended,
    /// A policy says that it expires in a moment; before, it did not expire for long, or never.
    Expires {
        could_expire: bool,
    },
}

#[tokio::test]
async fn a_call_that_waits_for_a_connection_is_withdrawn_and_one_that_was_sent_goes_on() {
    let in_seconds = |seconds| json!({"expiresAt": Timestamp::now() + SignedDuration::from_secs(seconds)});
    for (is_sent, ends) in [
        (false, Ends::Suspended),
        (true, Ends::Suspended),
        (false, Ends::Expires { could_expire: false }),
        (false, Ends::Expires { could_expire: true }),
    ] {
        let (sent, answer) = (Sent::default(), Arc::new(Semaphore::new(0)));
        assert!(!is_sent || sent.send());
        let (by_call, answers) = (sent.clone(), answer.clone());
        let exchange = move || {
            let answers = answers.clone();
            let answered = async move {
                answers.acquire().await.unwrap().forget();
                Ok(Output::json(bytes::Bytes::from_static(b"{}")))
            };
            Exchange::Pending(answered.boxed(), by_call.clone())
        };
        let fields = if ends == (Ends::Expires { could_expire: true }) { in_seconds(3_600) } else { json!({}) };
        let mut before = snapshot(&policy_of(&fields), &credentials(&["a"]));
        Arc::get_mut(&mut before.tools).unwrap().by_name.get_mut("greet").unwrap().work = fake::tool_work(exchange);
        let before = Arc::new(before);
        let identity = identity_in(&before, "a");
        let (guard, log) = fixtures::guard();
        guard.store.put(before.clone());
        let caller = fixtures::caller(&before, &identity);
        let (prepared, never) = (guard.prepare(caller, "greet", None).unwrap(), Cancellation::never());
        let mut call = std::pin::pin!(guard.call(caller, prepared, &never));
        let put = |fields: &Value, keys: &[&str]| {
            guard.store.put(Arc::new(snapshot(&policy_of(fields), &credentials(keys))));
        };
        let harmless = async {
            // Whatever changes for others changes nothing for this call.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut fields = fields.clone();
            fields["maxRecordsPerQuery"] = json!(7);
            put(&fields, &["a", "b"]);
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        tokio::select! {
            biased;
            _ = &mut call => panic!("nothing that concerns it changed"),
            () = harmless => {}
        }
        match ends {
            Ends::Suspended => put(&json!({"suspended": true}), &["a"]),
            Ends::Expires { .. } => put(&in_seconds(1), &["a"]),
        }
        if is_sent {
            assert!(poll!(&mut call).is_pending());
            answer.add_permits(1);
        }
        let reply = tokio::time::timeout(PATIENCE, &mut call).await.expect("the access must end");
        crate::net::Held::written(&mut *reply.unwrap().delivery);
        assert_eq!(sent.send(), is_sent, "what was withdrawn is never sent");

        let dimensions = limits::of_call(&identity, &before.tools.by_name["greet"], 1).unwrap();
        let is_used_up = before.limit_store.used_up(&dimensions).is_some();
        assert_eq!(is_used_up, is_sent, "a call that is withdrawn uses up no limit");
        assert!(guard.audit.stop(PATIENCE));
        let records = log.records();
        let end = &records[records.len() - 1];
        let expected =
            if is_sent { json!(["tool_call_success", null]) } else { json!(["tool_call_error", "access_ended"]) };
        assert_eq!(json!([end["event"], end["error"]]), expected, "{ends:?}");
    }
}
