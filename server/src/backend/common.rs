//! What is the same for all backends: each has a breaker, a number of calls in flight, a timeout for each call, and a health
//! check that is cached.

use std::{
    future::{Future, pending, ready},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, Either};
use portcullis_crds::{
    check::CheckedToolKind,
    contract::{self, ToolKind},
};
use tokio::sync::Semaphore;

use super::{
    breaker::Breaker,
    failure::Failure,
    health::{Check, HealthCache, Status},
    kind::{Exchange, Kind, Unsendable, Work},
    origin::Origin,
    output::Output,
    sent::Sent,
};
use crate::{cancellation::Cancellation, fingerprint::Fingerprint, protocol::strict::Node};

/// The number of calls that a backend has in flight at most.
pub(super) const CALLS: usize = 256;

/// A backend of the policy in force.
#[derive(Clone)]
pub struct Backend {
    critical: bool,
    state: Arc<State>,
}

/// What outlives a policy, as long as the spec of the backend stays the same.
struct State {
    name: String,
    spec: contract::Backend,
    kind: Box<dyn Kind>,
    breaker: Arc<Breaker>,
    room: Semaphore,
    health: HealthCache,
}

/// The work of a tool, and the backend that does it.
pub struct ToolWork {
    backend: Arc<State>,
    work: Box<dyn Work>,
}

/// A call that was prepared. It borrows nothing of the request.
pub struct PreparedCall<'a> {
    backend: &'a State,
    exchange: Exchange,
}

impl Backend {
    /// A backend of a policy. The state of `previous` is kept if its spec is the same. `kind` reports to the breaker whether
    /// connections can be made.
    pub(super) fn new(
        spec: &contract::Backend,
        previous: Option<&Self>,
        kind: impl FnOnce(&Arc<Breaker>) -> Box<dyn Kind>,
    ) -> Self {
        let state = match previous {
            Some(previous) if is_same(&previous.state.spec, spec) => previous.state.clone(),
            _ => {
                let breaker = Arc::default();
                Arc::new(State {
                    name: spec.name.to_string(),
                    spec: spec.clone(),
                    kind: kind(&breaker),
                    breaker,
                    room: Semaphore::new(CALLS),
                    health: HealthCache::default(),
                })
            }
        };
        Self { critical: spec.critical, state }
    }

    /// Whether the server is unhealthy without it; otherwise it is degraded.
    pub fn is_critical(&self) -> bool {
        self.critical
    }

    /// The work of a tool; `None` if the tool is of another kind.
    pub fn work(&self, tool: &ToolKind, checked: &CheckedToolKind) -> Option<ToolWork> {
        Some(ToolWork { backend: self.state.clone(), work: self.state.kind.work(tool, checked)? })
    }

    /// Its health now, or a moment ago. While it is not called because connections failed, no check is needed to know that.
    pub async fn health(&self) -> Check {
        if self.state.breaker.is_open(Instant::now()) {
            return Check::immediate(Status::Unhealthy);
        }
        let mut check = match self.state.kind.check() {
            Some(check) => self.state.health.get_or_check(check).await,
            None => Check::immediate(Status::Healthy),
        };
        if self.state.kind.is_impaired() {
            check.status = check.status.max(Status::Degraded);
        }
        check
    }
}

impl ToolWork {
    /// The name of the backend.
    pub fn backend(&self) -> &str {
        &self.backend.name
    }

    /// Puts the arguments of a call of this identity in their places.
    ///
    /// # Errors
    /// Returns an error if an argument cannot be sent as data.
    pub fn prepare(&self, arguments: &Node<'_>, identity: Fingerprint) -> Result<PreparedCall<'_>, Unsendable> {
        Ok(PreparedCall { backend: &self.backend, exchange: self.work.prepare(arguments, identity)? })
    }
}

impl PreparedCall<'_> {
    /// Whether the backend is called, so that it has to be told whose call it is. Otherwise the tool contains its answer.
    pub fn is_request(&self) -> bool {
        matches!(self.exchange, Exchange::Pending(..))
    }

    /// Says whose call it is.
    pub fn set_origin(&self, origin: Origin) {
        if let Exchange::Pending(_, sent) = &self.exchange {
            sent.set_origin(origin);
        }
    }

    /// Makes the call, once. A call that is cancelled or takes longer than `timeout` ends at the backend too. One that was not sent yet
    /// ends when `withdrawn` does.
    ///
    /// # Errors
    /// Returns an error if the backend was not called or has no output.
    pub fn run<'c, W: Future<Output = ()> + Send + 'c>(
        self,
        timeout: Duration,
        cancellation: &'c Cancellation,
        withdrawn: impl FnOnce() -> W,
    ) -> impl Future<Output = Result<Output, Failure>> + Send
    where
        Self: 'c,
    {
        let Self { backend, exchange } = self;
        match exchange {
            Exchange::Known(output) => Either::Left(ready(Ok(output))),
            // In memory of its own, which a call without a backend does not need.
            Exchange::Pending(exchange, sent) => {
                let request = backend.request((exchange, sent), timeout, cancellation, withdrawn());
                Either::Right(Box::pin(request))
            }
        }
    }
}

impl State {
    /// Makes a request to the backend, as [`PreparedCall::run`] says.
    async fn request(
        &self,
        (exchange, sent): (BoxFuture<'static, Result<Output, Failure>>, Sent),
        timeout: Duration,
        cancellation: &Cancellation,
        withdrawn: impl Future<Output = ()>,
    ) -> Result<Output, Failure> {
        // The place comes first: a call without one must not be the one that tests whether the backend has recovered.
        let _place = self.room.try_acquire().map_err(|_| Failure::Busy)?;
        if !self.breaker.admits(Instant::now()) {
            return Err(Failure::Suspended);
        }
        let withdrawn = async {
            withdrawn.await;
            if !sent.withdraw() {
                pending().await
            }
        };
        let result = tokio::select! {
            biased;
            () = cancellation.cancelled() => Err(Failure::Cancelled.after(sent.status())),
            () = withdrawn => return Err(Failure::Withdrawn),
            result = tokio::time::timeout(timeout, exchange) => {
                result.unwrap_or_else(|_| Err(Failure::Timeout(timeout).after(sent.status())))
            }
        };
        if is_response(&result) {
            self.breaker.succeeded();
        }
        result
    }
}

/// Whether a backend is called as before. Whether it is critical makes no difference to that.
fn is_same(a: &contract::Backend, b: &contract::Backend) -> bool {
    let of = |backend: &contract::Backend| contract::Backend { critical: false, ..backend.clone() };
    of(a) == of(b)
}

/// Whether the backend responded, however it did.
fn is_response(result: &Result<Output, Failure>) -> bool {
    match result {
        Ok(_) => true,
        Err(failure) => match failure {
            Failure::Status { .. }
            | Failure::TooLarge
            | Failure::Malformed
            | Failure::NotFinite
            | Failure::RecordsMissing
            | Failure::Nonconforming(_)
            | Failure::Unread(_) => true,
            Failure::Suspended
            | Failure::Busy
            | Failure::Credentials(_)
            | Failure::Unreachable
            | Failure::Broken
            | Failure::Timeout(_)
            | Failure::Cancelled
            | Failure::Withdrawn => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;

    use super::*;
    use crate::{
        backend::{
            fake::{self, Fake},
            sent::Sent,
        },
        protocol::strict,
    };

    const MINUTE: Duration = Duration::from_secs(60);

    async fn run(work: &ToolWork, timeout: Duration, cancellation: &Cancellation) -> Result<(), Failure> {
        let prepared = work.prepare(&strict::parse(b"{}").unwrap(), Fingerprint::of(&[])).unwrap();
        prepared.run(timeout, cancellation, pending).await.map(|_| ())
    }

    fn unreachable() -> Exchange {
        Exchange::Pending(async { Err(Failure::Unreachable) }.boxed(), Sent::default())
    }

    fn succeeding() -> Exchange {
        Exchange::Pending(async { Ok(Output::json(Bytes::from_static(b"{}"))) }.boxed(), Sent::default())
    }

    #[tokio::test]
    async fn a_call_that_finds_no_place_does_not_test_the_backend() {
        let work = fake::tool_work(unreachable);
        let a_while_ago = Instant::now() - Duration::from_secs(10);
        work.backend.breaker.open(a_while_ago);
        let places = work.backend.room.acquire_many(u32::try_from(CALLS).unwrap()).await.unwrap();
        assert_eq!(run(&work, MINUTE, &Cancellation::never()).await, Err(Failure::Busy));
        drop(places);
        let results =
            [run(&work, MINUTE, &Cancellation::never()).await, run(&work, MINUTE, &Cancellation::never()).await];
        assert_eq!(results, [Err(Failure::Unreachable), Err(Failure::Suspended)]);
    }

    #[tokio::test]
    async fn a_call_ends_at_the_backend_when_it_is_cancelled_or_takes_too_long() {
        let (calls, work) = fake::counted(|| Exchange::Pending(pending().boxed(), Sent::default()));
        let short = Duration::from_millis(1);
        assert_eq!(run(&work, short, &Cancellation::never()).await, Err(Failure::Timeout(short)));
        let (canceller, cancellation) = Cancellation::pair();
        let (result, running) = tokio::join!(run(&work, MINUTE, &cancellation), async {
            let running = calls.running();
            canceller.cancel();
            running
        });
        assert_eq!((result, running, calls.running()), (Err(Failure::Cancelled), 1, 0));
    }

    #[tokio::test]
    async fn what_a_status_said_holds_although_the_rest_of_the_response_never_comes() {
        let refused = |status| Failure::Status { status, text: String::new(), retry_after: None };
        for (status, timed_out, cancelled) in [
            (
                200,
                Failure::Unread(Box::new(Failure::Timeout(Duration::ZERO))),
                Failure::Unread(Failure::Cancelled.into()),
            ),
            (409, refused(409), refused(409)),
            (502, refused(502), refused(502)),
        ] {
            let work = fake::tool_work(move || {
                let sent = Sent::default();
                sent.responded(status.try_into().unwrap());
                Exchange::Pending(pending().boxed(), sent)
            });
            let (canceller, cancellation) = Cancellation::pair();
            canceller.cancel();
            let found =
                [run(&work, Duration::ZERO, &Cancellation::never()).await, run(&work, MINUTE, &cancellation).await];
            assert_eq!(found, [Err(timed_out), Err(cancelled)], "{status}");
        }
    }

    #[tokio::test]
    async fn neither_cancelled_calls_nor_slow_ones_suspend_a_backend() {
        let work = fake::tool_work(|| Exchange::Pending(pending().boxed(), Sent::default()));
        let (canceller, cancellation) = Cancellation::pair();
        canceller.cancel();
        for _ in 0..10 {
            assert_eq!(run(&work, MINUTE, &cancellation).await, Err(Failure::Cancelled));
            let at_once = Duration::ZERO;
            assert_eq!(run(&work, at_once, &Cancellation::never()).await, Err(Failure::Timeout(at_once)));
        }
    }

    #[tokio::test]
    async fn calls_without_a_response_show_nothing_about_the_backend() {
        let (canceller, cancelled) = Cancellation::pair();
        canceller.cancel();
        for (exchange, timeout, cancellation, closes) in [
            (None, Duration::ZERO, Cancellation::never(), false),
            (None, MINUTE, cancelled, false),
            (Some(Failure::Broken), MINUTE, Cancellation::never(), false),
            (
                Some(Failure::Status { status: 500, text: String::new(), retry_after: None }),
                MINUTE,
                Cancellation::never(),
                true,
            ),
        ] {
            let failure = exchange.clone();
            let work = fake::tool_work(move || match failure.clone() {
                None => Exchange::Pending(pending().boxed(), Sent::default()),
                Some(failure) => Exchange::Pending(async { Err(failure) }.boxed(), Sent::default()),
            });
            let a_while_ago = Instant::now() - Duration::from_secs(3);
            work.backend.breaker.open(a_while_ago);
            let _ = run(&work, timeout, &cancellation).await;
            // The call was the one that tests the backend, so the breaker is open unless the call closed it.
            assert_eq!(work.backend.breaker.is_open(Instant::now()), !closes, "{exchange:?}");
        }
    }

    #[tokio::test]
    async fn the_health_of_a_backend_is_never_older_than_its_breaker() {
        let backend = Backend::new(&fake::spec("http://a", false), None, |_| Box::new(Fake::new(succeeding)));
        assert_eq!(backend.health().await.status, Status::Healthy);
        backend.state.breaker.open(Instant::now());
        assert_eq!(backend.health().await.status, Status::Unhealthy, "the result of the last check is still fresh");
        backend.state.breaker.succeeded();
        assert_eq!(backend.health().await.status, Status::Healthy);
    }

    #[tokio::test]
    async fn a_reload_keeps_the_state_of_a_backend_whose_spec_is_the_same() {
        let backend = |url: &str, critical, previous| {
            Backend::new(&fake::spec(url, critical), previous, |_| Box::new(Fake::new(succeeding)))
        };
        let first = backend("http://a", false, None);
        first.state.breaker.open(Instant::now());
        let second = backend("http://a", true, Some(&first));
        assert!(second.is_critical() && !second.state.breaker.admits(Instant::now()));
        assert!(backend("http://b", true, Some(&second)).state.breaker.admits(Instant::now()));
    }
}
