//! The accept loop, and what runs in the task of each connection.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto::Builder};
use tokio::time::Instant;

use super::{
    Accepted, Bounds, ConnectionFacts, Listener, ResponseBody, Stream,
    registry::{Connections, Slot},
    socket::Socket,
    streams::Streams,
    tracked_body::{PIECE, TrackedBody},
    unread::Unread,
};
use crate::fingerprint::Fingerprint;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request. The future is dropped if the caller disconnects before the answer: if its connection breaks or is reset, and
    /// on HTTP/1 as [`Handler::is_cancelled_by_closing`] says.
    ///
    /// A request is large, and each future that it is handed to is another copy of it. What needs no waiting is therefore done before
    /// the future is returned.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<ConnectionFacts>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send;

    /// Whether a caller of HTTP/1 cancels a request with these headers by closing its direction of the connection, or is answered
    /// nevertheless.
    fn is_cancelled_by_closing(&self, _headers: &HeaderMap) -> bool {
        false
    }

    /// What is sent instead of an answer for which there is no room.
    fn overloaded(&self) -> Response<ResponseBody>;

    /// Counts an answer that is sent, if its body is [`ResponseBody::counted`].
    fn count(&self, _status: StatusCode) {}
}

/// The pause after an accept that failed: usually too many files are open, and trying again at once closes none of them.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest that a stop accepts connections: more than those that the system has established already take, even if new ones can
/// still be made.
const LAST_ACCEPTS: Duration = Duration::from_secs(1);
/// A stop accepts no more once there was no connection for this time: longer than a round trip in a cluster, so that those which are
/// being established are among them.
const LAST_ACCEPT: Duration = Duration::from_millis(50);

/// Bytes that an HTTP/2 connection may send before they are read.
const WINDOW: u32 = 65_535;

/// Serves HTTP/1.1 and HTTP/2 on `listener` until `stop` is ready; then accepts no more than what is connected already, finishes
/// the requests in flight and returns, at the latest two seconds after the time that `stop` returned. Returns whether all requests
/// were finished.
pub async fn serve<L: Listener, H: Handler>(
    mut listener: L,
    handler: Arc<H>,
    bounds: Bounds,
    connections: Connections,
    stop: impl Future<Output = Duration> + Send,
) -> bool {
    let [wide, narrow] = [bounds.streams, bounds.streams_of_further].map(|streams| Arc::new(builder(&bounds, streams)));
    let unread = Unread::new(&bounds);
    let mut stop = pin!(stop);
    let mut close_overdue = pin!(connections.close_overdue(&bounds));
    let open = |accepted: L::Accepted| {
        // A connection over a bound is closed.
        let Some(slot) = connections.open(accepted.peer().ip(), &bounds) else { return };
        let number = slot.number();
        let builder = if slot.is_wide() { wide.clone() } else { narrow.clone() };
        let connection = Connection { builder, handler: handler.clone(), unread: unread.clone(), slot };
        let task = tokio::spawn(connection.run(accepted, bounds.handshake));
        connections.set_task(number, task.abort_handle());
    };
    let mut cannot_accept = false;
    let within = loop {
        let accepted = tokio::select! {
            within = &mut stop => break within,
            never = &mut close_overdue => match never {},
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !std::mem::replace(&mut cannot_accept, true) {
                        tracing::warn!(error = ?error.kind(), "cannot accept connections");
                    }
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        cannot_accept = false;
        open(accepted);
    };
    connections.drain();
    listener.refuse_new();
    let last = Instant::now() + LAST_ACCEPTS;
    while Instant::now() < last
        && let Ok(Ok(accepted)) = tokio::time::timeout(LAST_ACCEPT, listener.accept()).await
    {
        open(accepted);
    }
    drop(listener);
    tokio::select! {
        never = &mut close_overdue => match never {},
        all_finished = connections.end(within) => all_finished,
    }
}

fn builder(bounds: &Bounds, streams: u32) -> Builder<Streams> {
    // A peer may open as many as usual before it reads how few there may be; those that are refused have not begun.
    let refused = usize::try_from(bounds.streams.saturating_sub(streams)).unwrap_or(usize::MAX);
    let mut builder = Builder::new(Streams);
    // The socket notices that the peer has closed its direction. Answers are small: copied behind their head they take one write, which is faster than a vectored one.
    builder.http1().max_buf_size(bounds.header_block).header_read_timeout(None).writev(false).half_close(true);
    builder
        .http2()
        .max_concurrent_streams(streams)
        .max_send_buf_size(PIECE)
        // What arrives before it is read is held by each connection.
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(u32::try_from(bounds.header_block).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(bounds.pending_resets)
        .max_local_error_reset_streams(bounds.pending_resets.saturating_add(refused));
    builder
}

/// One connection, and what it needs in its task.
struct Connection<H> {
    builder: Arc<Builder<Streams>>,
    handler: Arc<H>,
    unread: Unread,
    slot: Slot,
}

impl<H: Handler> Connection<H> {
    async fn run<A: Accepted>(self, accepted: A, handshake: Duration) {
        let established = tokio::select! {
            // What is established at once is served however late this task runs: its request may have arrived.
            biased;
            established = tokio::time::timeout(handshake, accepted.establish()) => established,
            // Nothing is in flight yet.
            () = self.slot.activity.stopped() => return,
        };
        match established.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok((stream, facts)) => self.serve(stream, facts).await,
            Err(error) => tracing::debug!(error = ?error.kind(), "a connection could not be established"),
        }
    }

    async fn serve<S: Stream>(self, stream: S, facts: ConnectionFacts) {
        let (socket, remains) = Socket::new(stream, self.slot.activity.clone());
        self.serve_socket(socket, facts).await;
        if self.slot.activity.is_draining() {
            // In memory of its own, which a connection that is in use does not need.
            Box::pin(remains.linger()).await;
        }
    }

    /// Serves a connection until it ends.
    async fn serve_socket<S: Stream>(&self, socket: Socket<S>, facts: ConnectionFacts) {
        let (activity, facts) = (&self.slot.activity, Arc::new(facts));
        let peer = Fingerprint::of(&[&self.slot.peer().to_string()]);
        let service = service_fn(|request: Request<Incoming>| {
            let in_flight = activity.begin(request.version() == Version::HTTP_2);
            if !in_flight.is_http2 {
                activity.cancelled_by_closing(self.handler.is_cancelled_by_closing(request.headers()));
            }
            let answering = self.handler.clone().handle(request, facts.clone());
            let handler = self.handler.clone();
            let unread = in_flight.is_http2.then(|| self.unread.clone());
            async move {
                let mut response = answering.await;
                in_flight.activity.identified(response.body().identity().is_some());
                let is_counted = response.body().is_counted();
                if let Some(unread) = unread {
                    response = unread.account(response, peer, || handler.overloaded());
                } else if in_flight.activity.is_draining() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                if is_counted {
                    handler.count(response.status());
                }
                Ok::<_, Infallible>(response.map(|body| TrackedBody::new(body, in_flight)))
            }
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(socket), service));
        let mut is_shutting_down = false;
        let ended = poll_fn(|cx| {
            // What has arrived is read first; a first request may show that this is HTTP/2.
            let polled = Pin::new(&mut connection).poll(cx);
            if polled.is_ready() || is_shutting_down || !activity.is_to_shut_down(cx) {
                return polled;
            }
            is_shutting_down = true;
            connection.as_mut().graceful_shutdown();
            Pin::new(&mut connection).poll(cx)
        });
        // Errors here are caused by the peer: malformed heads (answered by hyper), resets, timeouts.
        if let Err(error) = ended.await {
            tracing::debug!(error = %error_kind(&*error), "a connection ended early");
        }
    }
}

/// hyper's own texts quote nothing that was sent; the texts of their sources may.
fn error_kind(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    error.downcast_ref::<hyper::Error>().map_or_else(|| "i/o".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests;
