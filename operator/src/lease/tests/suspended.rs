//! A machine that is suspended: what the operator's timers measure stands still, and the term of its Lease goes on.

use std::sync::atomic::AtomicU64;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_term_is_over_after_the_machine_was_suspended_and_a_renewal_during_it_does_not_count() {
    static SUSPENDED: AtomicU64 = AtomicU64::new(0);
    let suspend = |time: Duration| SUSPENDED.fetch_add(time.as_secs(), SeqCst);
    let state = Api::default();
    let term = Term::by_clock(|| Duration::from_secs(1000 + SUSPENDED.load(SeqCst)));
    let first = Lease::new(state.cluster(), Some("ops".into()), stranger("first"), term, &Supervisor::default());
    first.acquire().await.unwrap();
    suspend(TERM - MARGIN - Duration::from_secs(1));
    assert!(may_write(&first));
    suspend(Duration::from_secs(1));
    assert!(!may_write(&first), "the term is over, and no timer has noticed");

    let requested = first.term.now();
    suspend(TERM);
    first.held(None, requested);
    assert!(!may_write(&first), "the answer was waiting for longer than a term");
    first.renew(&mut None).await.unwrap();
    assert!(may_write(&first));
}

#[tokio::test(start_paused = true)]
async fn who_was_succeeded_while_the_machine_was_suspended_writes_nothing_afterwards_and_ends() {
    static SUSPENDED: AtomicU64 = AtomicU64::new(0);
    let state = Api::default();
    let term = Term::by_clock(|| Duration::from_secs(SUSPENDED.load(SeqCst)));
    let first = Lease::new(state.cluster(), Some("ops".into()), stranger("first"), term, &Supervisor::default());
    let first = Arc::new(first);
    first.acquire().await.unwrap();
    let second = lease(&state, stranger("second"));
    second.acquire().await.unwrap();
    SUSPENDED.store(TERM.as_secs(), SeqCst);
    assert!(!may_write(&first) && may_write(&second));
    let never_writes = async {
        loop {
            assert!(!may_write(&first) && may_write(&second));
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = Arc::clone(&first).keep() => panic!("it never ends"),
        () = Arc::clone(&second).keep() => panic!("it never ends"),
        () = never_writes => {}
        lost = first.lost() => assert!(matches!(lost, Refused::Lost(_))),
    }
}

/// A term that another one has let pass is waited for once, also if the Lease cannot be written then.
#[tokio::test(start_paused = true)]
async fn a_lease_that_ran_out_is_taken_as_soon_as_it_can_be_written() {
    let state = Api::default();
    lease(&state, stranger("first")).acquire().await.unwrap();
    let second = lease(&state, stranger("second"));
    let mut seen = None;
    assert!(matches!(second.look(&mut seen).await, Ok(Step::Wait)));
    sleep(TERM).await;
    *lock(&state.refuses) = Some((503, true));
    for _ in 0..3 {
        assert!(second.look(&mut seen).await.is_err());
    }
    *lock(&state.refuses) = None;
    assert!(matches!(second.look(&mut seen).await, Ok(Step::Held)));
}

#[tokio::test(start_paused = true)]
async fn who_is_forbidden_the_lease_does_not_wait_as_if_that_could_pass() {
    for is_late in [false, true] {
        let state = Api::default();
        let first = lease(&state, stranger("first"));
        *lock(&state.refuses) = Some((403, is_late));
        let began = Instant::now();
        first.acquire().await.unwrap();
        assert!(may_write(&first) && began.elapsed() < AGAIN * 2, "{:?}", began.elapsed());
    }
    // Rights that arrive a moment later are no reason to go on without it.
    let state = Api::default();
    let first = lease(&state, stranger("first"));
    *lock(&state.refuses) = Some((403, false));
    let granted = async {
        sleep(AGAIN / 2).await;
        *lock(&state.refuses) = None;
    };
    tokio::join!(async { first.acquire().await.unwrap() }, granted);
    assert_eq!((state.holder().as_deref(), first.term.is_without()), (Some("first"), false));
}
