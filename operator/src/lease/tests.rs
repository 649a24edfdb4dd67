//! Two operators, or the remains of one, against an API server that keeps one Lease.

mod fake;
mod suspended;

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use super::{holder::HolderPod, *};
use crate::{metrics::Live, supervise::faults};
use fake::{Api, in_pod, lease, may_write, merge, stranger};

#[tokio::test(start_paused = true)]
async fn the_first_one_holds_the_lease_and_a_second_one_is_refused_with_its_name() {
    let state = Api::default();
    let first = lease(&state, Holder { pod: None, ..Holder::this_process(false) });
    assert!(!may_write(&first));
    first.acquire().await.unwrap();
    assert!(may_write(&first));
    let second = lease(&state, Holder::this_process(false));
    let refused = second.acquire().await.unwrap_err().to_string();
    let who = format!("another operator runs against this cluster: process {} on ", std::process::id());
    assert!(
        refused.starts_with(&who) && refused.contains(", since 2") && refused.contains("ops/portcullis-operator"),
        "{refused}"
    );
    assert!(!may_write(&second) && state.holder() == Some(first.holder.identity.clone()));

    first.release().await;
    assert_eq!((state.holder(), may_write(&first)), (None, false));
    second.acquire().await.unwrap();
    assert_eq!(state.holder(), Some(second.holder.identity.clone()));
}

#[tokio::test(start_paused = true)]
async fn who_is_known_to_be_gone_is_succeeded_at_once_and_who_is_only_not_seen_is_not() {
    let this = Holder::this_process(false);
    let ended = Holder { identity: "ended".into(), started: this.started + 1, ..this.clone() };
    let failed = |state: Value| vec![("1", json!({"phase": "Failed", "containerStatuses": [{"state": state}]}))];
    let running = |uid| vec![(uid, json!({"phase": "Running"}))];
    let terminated = failed(json!({"terminated": {"exitCode": 137}}));
    for (before, after, pods, is_gone) in [
        (ended, this, vec![], true),
        (in_pod("restarted", "1"), in_pod("new", "1"), running("1"), true),
        (in_pod("ended", "1"), in_pod("new", "2"), terminated, true),
        // Its node is not heard of.
        (in_pod("collected", "1"), in_pod("new", "2"), failed(json!({"running": {}})), false),
        // Perhaps it was deleted by force.
        (in_pod("replaced", "1"), in_pod("new", "2"), running("2"), false),
        (in_pod("deleted", "1"), in_pod("new", "2"), vec![], false),
        (in_pod("in-a-pod", "1"), stranger("outside"), vec![], false),
    ] {
        let state = Api::default();
        *lock(&state.pods) = pods;
        lease(&state, before.clone()).acquire().await.unwrap();
        let began = Instant::now();
        lease(&state, after.clone()).acquire().await.unwrap();
        let waited = began.elapsed();
        assert!(if is_gone { waited < LOOK } else { waited >= TERM }, "{}: {waited:?}", before.identity);
        assert_eq!(state.holder(), Some(after.identity));
    }
}

#[tokio::test(start_paused = true)]
async fn of_whom_nothing_is_known_is_succeeded_after_its_term_and_not_while_it_renews() {
    for second in [stranger("second"), in_pod("second", "2")] {
        let state = Api::default();
        *lock(&state.pods) = vec![("1", json!({"phase": "Running"}))];
        let first = if second.pod.is_some() { in_pod("first", "1") } else { stranger("first") };
        let first = lease(&state, first);
        first.acquire().await.unwrap();
        let second = lease(&state, second);
        let kept = Arc::clone(&first).keep();
        let began = Instant::now();
        tokio::select! {
            () = kept => panic!("it never ends"),
            refused = second.acquire() => assert!(matches!(refused, Err(Refused::Held(_)))),
        }
        assert!(began.elapsed() <= RENEW + LOOK * 2, "{:?}", began.elapsed());
        let began = Instant::now();
        second.acquire().await.unwrap();
        assert!(began.elapsed() >= TERM && !may_write(&first), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_stops_writing_before_its_term_is_over_and_goes_on_once_it_can() {
    let state = Api::default();
    let first = lease(&state, stranger("first"));
    first.acquire().await.unwrap();
    state.is_away.store(true, SeqCst);
    tokio::select! {
        () = Arc::clone(&first).keep() => panic!("it never ends"),
        _ = first.lost() => panic!("nobody took it"),
        () = sleep(TERM - MARGIN) => {}
    }
    assert!(!may_write(&first));
    state.is_away.store(false, SeqCst);
    let writes_again = async {
        while !may_write(&first) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = Arc::clone(&first).keep() => panic!("it never ends"),
        () = writes_again => {}
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_succeeded_by_another_one_stops_writing_and_ends() {
    let state = Api::default();
    let first = lease(&state, stranger("first"));
    first.acquire().await.unwrap();
    let renew = async {
        for n in 0.. {
            let renewed = json!({
                "metadata": {"resourceVersion": format!("{}", 99 + n)},
                "spec": {"holderIdentity": "somebody", "renewTime": format!("2026-01-01T00:00:{n:02}Z")},
            });
            merge(lock(&state.lease).as_mut().unwrap(), &renewed);
            sleep(RENEW + CHANGED).await;
            assert!(!may_write(&first), "not even before it is clear that the other one lives");
        }
    };
    let lost = tokio::select! {
        () = Arc::clone(&first).keep() => panic!("it never ends"),
        () = renew => panic!("it never ends"),
        lost = first.lost() => lost.to_string(),
    };
    assert!(lost.starts_with("another operator took over: somebody, since "), "{lost}");
    assert!(!may_write(&first) && state.holder().as_deref() == Some("somebody"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_deleted_edited_or_restored_is_taken_again() {
    // In an earlier container of the same pod, and in a pod that no longer exists.
    let restored = |uid| {
        json!({
            "metadata": {"annotations": {record::ANNOTATION: json!(in_pod("earlier", uid)).to_string()}, "resourceVersion": "99"},
            "spec": {"holderIdentity": "earlier"},
        })
    };
    let edited = json!({"metadata": {"resourceVersion": "99"}, "spec": {"renewTime": 7, "leaseDurationSeconds": "x"}});
    let emptied = json!({"metadata": {"resourceVersion": "99"}, "spec": {"holderIdentity": ""}});
    for change in [None, Some(edited), Some(emptied), Some(restored("2")), Some(restored("1"))] {
        let state = Api::default();
        let first = lease(&state, in_pod("first", "2"));
        first.acquire().await.unwrap();
        match &change {
            Some(change) => merge(lock(&state.lease).as_mut().unwrap(), change),
            None => *lock(&state.lease) = None,
        }
        tokio::select! {
            () = Arc::clone(&first).keep() => panic!("it never ends"),
            lost = first.lost() => panic!("{lost}"),
            () = sleep(TERM * 2) => {}
        }
        assert!(may_write(&first), "{change:?}");
        assert_eq!(state.holder().as_deref(), Some("first"), "{change:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_panics_is_made_again() {
    let state = Api::default();
    let first = lease(&state, stranger("panics"));
    first.acquire().await.unwrap();
    faults::plan("lease of panics", 1);
    let supervisor = Supervisor::default();
    tokio::select! {
        gave_up = supervisor.keep(Task::Lease, |_| Arc::clone(&first).keep()) => panic!("{gave_up}"),
        () = sleep(TERM) => {}
    }
    assert!(may_write(&first));
    assert_eq!(supervisor.metrics().restarts(Task::Lease), 1);
}

#[tokio::test(start_paused = true)]
async fn all_operators_of_a_cluster_share_the_lease_wherever_they_run_and_whatever_the_cluster_lacks() {
    let this = Holder::this_process(false);
    let pod = HolderPod { namespace: "ops".into(), name: "op".into(), uid: "1".into() };
    let beside = Holder { pod: Some(pod), identity: "beside".into(), ..this.clone() };
    for (first, second) in [(this.clone(), beside.clone()), (beside, this)] {
        let state = Api::default();
        let lease = |holder| Lease::new(state.cluster(), None, holder, Term::default(), &Supervisor::default());
        let first = lease(first);
        first.acquire().await.unwrap();
        assert_eq!(first.object.name.to_string(), "portcullis-system/portcullis-operator");
        assert!(state.has_namespace.load(SeqCst));
        assert!(matches!(lease(second).acquire().await, Err(Refused::Held(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_written_without_an_answer_refuses_nobody() {
    let state = Api::default();
    let first = lease(&state, Holder { pod: None, ..Holder::this_process(false) });
    state.is_mute.store(true, SeqCst);
    assert!(timeout(REQUEST * 2, first.acquire()).await.is_err());
    assert_eq!((state.holder(), may_write(&first)), (None, false), "not even the first read was answered");
    // The Lease is created, and the answer does not arrive.
    let created = first.create();
    assert!(matches!(created.await, Err(Failed { error: Error::Timeout { .. }, .. })));
    assert_eq!((state.holder(), may_write(&first)), (Some(first.holder.identity.clone()), false));
    state.is_mute.store(false, SeqCst);
    first.acquire().await.unwrap();
    assert!(may_write(&first));
}

/// By rights that are missing, a webhook that denies or fails, or a kind that is not served; at the start, or while it runs.
#[tokio::test(start_paused = true)]
async fn who_is_refused_the_lease_goes_on_without_it_and_takes_it_once_it_can() {
    for refused in
        [(403, false), (404, false), (429, false), (400, true), (403, true), (409, true), (422, true), (500, true)]
    {
        for is_late in [false, true] {
            let state = Api::default();
            let supervisor = Supervisor::default();
            let first =
                Lease::new(state.cluster(), Some("ops".into()), stranger("first"), Term::default(), &supervisor);
            let first = Arc::new(first);
            if is_late {
                first.acquire().await.unwrap();
            }
            *lock(&state.refuses) = Some(refused);
            let began = Instant::now();
            if !is_late {
                timeout(trouble::REFUSED_FOR * 2, first.acquire()).await.expect("it must go on").unwrap();
            }
            let pages = || (supervisor.unready(), supervisor.notes(), supervisor.metrics().render(&Live::default()));
            let writes_all_the_time = async {
                // Also after the end of what was its term.
                while began.elapsed() < TERM * 4 {
                    assert!(may_write(&first), "{refused:?} after {:?}", began.elapsed());
                    sleep(Duration::from_millis(100)).await;
                }
                let (unready, notes, metrics) = pages();
                let note = "lease: the API server refuses it; this operator goes on without it";
                assert_eq!((unready, notes), (vec![], vec![note.to_owned()]));
                assert!(metrics.contains("portcullis_operator_without_lease 1\n"), "{metrics}");
                *lock(&state.refuses) = None;
                sleep(TERM * 2).await;
                assert_eq!((state.holder().as_deref(), may_write(&first)), (Some("first"), true), "{refused:?}");
                let (_, notes, metrics) = pages();
                assert_eq!(notes, [] as [&str; 0]);
                assert!(metrics.contains("portcullis_operator_without_lease 0\n"), "{metrics}");
            };
            tokio::select! {
                () = Arc::clone(&first).keep() => panic!("it never ends"),
                lost = first.lost() => panic!("{lost}"),
                () = writes_all_the_time => {}
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_on_without_the_lease_ends_once_it_sees_that_another_one_holds_it() {
    let state = Api::default();
    let first = lease(&state, stranger("first"));
    *lock(&state.refuses) = Some((403, false));
    first.acquire().await.unwrap();
    *lock(&state.refuses) = None;
    let second = lease(&state, stranger("second"));
    second.acquire().await.unwrap();
    let lost = tokio::select! {
        () = Arc::clone(&first).keep() => panic!("it never ends"),
        () = Arc::clone(&second).keep() => panic!("it never ends"),
        lost = first.lost() => lost.to_string(),
    };
    assert!(lost.starts_with("another operator took over: process 1 on "), "{lost}");
    assert!(!may_write(&first) && may_write(&second));
}

#[tokio::test(start_paused = true)]
async fn while_the_api_server_is_away_nobody_goes_on_without_the_lease() {
    let state = Api::default();
    let first = lease(&state, stranger("first"));
    state.is_away.store(true, SeqCst);
    assert!(timeout(TERM * 10, first.acquire()).await.is_err() && !may_write(&first));
}

#[tokio::test(start_paused = true)]
async fn who_is_without_the_lease_and_no_longer_reaches_the_api_server_stops_writing_until_it_does() {
    let state = Api::default();
    let first = lease(&state, stranger("first"));
    *lock(&state.refuses) = Some((403, false));
    first.acquire().await.unwrap();
    let until = async |may: bool| {
        while may_write(&first) != may {
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = Arc::clone(&first).keep() => panic!("it never ends"),
        lost = first.lost() => panic!("{lost}"),
        () = async {
            sleep(TERM * 4).await;
            assert!(may_write(&first));
            state.is_away.store(true, SeqCst);
            let began = Instant::now();
            until(false).await;
            assert!(began.elapsed() <= TERM, "{:?}", began.elapsed());
            sleep(TERM * 4).await;
            assert!(!may_write(&first));
            state.is_away.store(false, SeqCst);
            until(true).await;
        } => {}
    }
}
