//! A connection, from the look-up of a name to the end of the TLS handshake, and what it shows about its backend.
//!
//! It is made in a task of its own, which goes on if the call that needs it does not wait any longer: so a backend that cannot be
//! reached opens its breaker whatever the timeouts of its tools are, and no caller decides what the breaker learns.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::Uri;
use tokio::sync::Semaphore;
use tower_service::Service;

use super::{
    breaker::Breaker,
    common::CALLS,
    dial::DialError,
    places::{Placed, Places},
};

/// How long a connection may take altogether.
pub const WITHIN: Duration = Duration::from_secs(4);

/// Makes connections with `C`, and reports to the backend's breaker whether they could be made.
#[derive(Clone)]
pub struct Establish<C> {
    connector: C,
    breaker: Arc<Breaker>,
    /// Of the connections of all backends.
    places: Places,
    /// Bounds the connections that are being made, because a call that leaves makes room for another one.
    room: Arc<Semaphore>,
}

pub type BoxedError = Box<dyn Error + Send + Sync>;

impl<C> Establish<C> {
    pub fn new(connector: C, breaker: Arc<Breaker>, places: Places) -> Self {
        Self { connector, breaker, places, room: Arc::new(Semaphore::new(CALLS)) }
    }

    pub fn places(&self) -> &Places {
        &self.places
    }
}

impl<C> Service<Uri> for Establish<C>
where
    C: Service<Uri, Error: Into<BoxedError>, Response: Send, Future: Send> + Clone + Send + 'static,
{
    type Response = Placed<C::Response>;
    type Error = BoxedError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxedError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxedError>> {
        // Connectors wait in their futures.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { mut connector, breaker, places, room } = self.clone();
        Box::pin(async move {
            let permit = room.acquire_owned().await?;
            // That there is none shows nothing about the backend.
            let place = places.take().await.ok_or(DialError::NoPlace)?;
            let connecting = tokio::spawn(async move {
                let _permit = permit;
                let attempt = breaker.attempt();
                let connected = match tokio::time::timeout(WITHIN, connector.call(uri)).await {
                    Ok(connected) => connected.map_err(Into::into),
                    Err(_) => Err(DialError::TooSlow.into()),
                };
                match &connected {
                    Ok(_) => breaker.succeeded(),
                    Err(_) => breaker.failed(attempt, Instant::now()),
                }
                connected.map(|stream| place.of(stream))
            });
            connecting.await?
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        io,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use futures::future::Either;

    use super::*;

    /// Makes a connection, fails, or does neither.
    #[derive(Clone)]
    struct Connector {
        result: Option<bool>,
        begun: Arc<AtomicUsize>,
    }

    impl Service<Uri> for Connector {
        type Response = ();
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            self.begun.fetch_add(1, SeqCst);
            Box::pin(match self.result {
                Some(true) => Either::Left(ready(Ok(()))),
                Some(false) => Either::Left(ready(Err(io::ErrorKind::ConnectionRefused.into()))),
                None => Either::Right(pending()),
            })
        }
    }

    fn establish(result: Option<bool>) -> (Establish<Connector>, Arc<Breaker>, Arc<AtomicUsize>) {
        let (breaker, begun) = (Arc::<Breaker>::default(), Arc::<AtomicUsize>::default());
        let connector = Connector { result, begun: begun.clone() };
        (Establish::new(connector, breaker.clone(), Places::new(2 * CALLS)), breaker, begun)
    }

    /// A call that waits no longer than this for its connection.
    async fn wait(establish: &Establish<Connector>, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, establish.clone().call(Uri::from_static("http://x"))).await;
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_wait_for_less_than_a_connection_takes_open_the_breaker_too() {
        let (establish, breaker, _) = establish(None);
        for _ in 0..5 {
            wait(&establish, Duration::from_millis(100)).await;
        }
        assert!(!breaker.is_open(Instant::now()), "no connection has failed yet");
        tokio::time::sleep(WITHIN).await;
        assert!(breaker.is_open(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_connection_counts_and_one_that_is_made_closes_the_breaker() {
        let (refused, breaker, _) = establish(Some(false));
        for _ in 0..5 {
            wait(&refused, WITHIN).await;
        }
        assert!(breaker.is_open(Instant::now()));
        let (made, ..) = establish(Some(true));
        let made = Establish { breaker: breaker.clone(), ..made };
        wait(&made, WITHIN).await;
        assert!(!breaker.is_open(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_a_place_until_it_is_closed_and_that_there_is_none_shows_nothing_about_the_backend() {
        let (made, breaker, begun) = establish(Some(true));
        let made = Establish { places: Places::new(1), ..made };
        let mut places = made.clone();
        let first = places.call(Uri::from_static("http://x")).await.unwrap();
        for _ in 0..10 {
            let refused = made.clone().call(Uri::from_static("http://x")).await.map(drop).unwrap_err();
            assert!(matches!(refused.downcast_ref(), Some(DialError::NoPlace)), "{refused}");
        }
        assert!(!breaker.is_open(Instant::now()) && begun.load(SeqCst) == 1);
        let (waiting, ()) = tokio::join!(made.clone().call(Uri::from_static("http://x")), async { drop(first) });
        assert!(waiting.is_ok() && made.places.taken() == 1);
        drop(waiting);
        assert_eq!(made.places.taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_leave_do_not_pile_up_connections() {
        let (establish, _, begun) = establish(None);
        for _ in 0..CALLS * 2 {
            wait(&establish, Duration::from_millis(1)).await;
        }
        assert_eq!(begun.load(SeqCst), CALLS);
    }
}
