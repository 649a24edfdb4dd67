//! The accept loop.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Version};
use hyper::{
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::net::{TcpListener, TcpStream};

use super::{
    Bounds, ConnectionFacts,
    connection::{Counted, PIECE, Socket},
    registry::{Connections, Place},
};

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static;

    /// Answers a request. The future is dropped if the caller disconnects before the answer.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: &ConnectionFacts,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// After an accept that failed: usually there are too many open files, and none is closed by trying again at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves HTTP/1.1 and HTTP/2 on `listener` until `stop` is ready; then accepts no more, finishes the requests in flight and
/// returns, after `bounds.drain` at the latest. Says whether all were finished.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    bounds: Bounds,
    connections: Connections,
    stop: impl Future<Output = ()> + Send,
) -> bool {
    let builder = Arc::new(builder(&bounds));
    let mut stop = pin!(stop);
    let mut watch = pin!(connections.watch(&bounds));
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            never = &mut watch => match never {},
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(kind = ?error.kind(), "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        // Whoever is over a bound sees the connection close.
        let Some(place) = connections.open(peer.ip(), &bounds) else { continue };
        let number = place.number();
        let task = tokio::spawn(run(builder.clone(), handler.clone(), (stream, peer), place, bounds.unread));
        connections.runs(number, task.abort_handle());
    }
    drop(listener);
    tokio::select! {
        never = &mut watch => match never {},
        all_finished = connections.end(bounds.drain) => all_finished,
    }
}

fn builder(bounds: &Bounds) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // Answers are small: copied behind their head they take one write, and less time than a vectored one.
    builder.http1().max_buf_size(bounds.header_block).header_read_timeout(None).writev(false);
    builder
        .http2()
        .max_concurrent_streams(bounds.streams)
        .max_send_buf_size(PIECE)
        .max_header_list_size(u32::try_from(bounds.header_block).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(bounds.pending_resets)
        .max_local_error_reset_streams(bounds.pending_resets);
    builder
}

async fn run<H: Handler>(
    builder: Arc<Builder<TokioExecutor>>,
    handler: Arc<H>,
    (stream, peer): (TcpStream, SocketAddr),
    place: Place,
    unread: u64,
) {
    // Without it each answer that is written in two pieces waits for the peer's delayed acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let pulse = &place.pulse;
    let facts = Arc::new(ConnectionFacts { peer });
    let service = service_fn(|request: Request<Incoming>| {
        let token = pulse.begin(request.version() == Version::HTTP_2);
        let (handler, facts) = (handler.clone(), facts.clone());
        async move {
            let (head, body) = handler.handle(request, &facts).await.into_parts();
            // An error resets the stream.
            Counted::new(body, token, unread).map(|body| Response::from_parts(head, body))
        }
    });
    let socket = TokioIo::new(Socket { stream, pulse: pulse.clone() });
    let mut connection = pin!(builder.serve_connection(socket, service));
    let mut is_ending = false;
    let ended = poll_fn(|cx| {
        if !is_ending && pulse.is_ending(cx) {
            is_ending = true;
            connection.as_mut().graceful_shutdown();
        }
        Pin::new(&mut connection).poll(cx)
    });
    // Errors here are the peer's doings: malformed heads (answered by hyper), resets, timeouts.
    if let Err(error) = ended.await {
        tracing::debug!(error = %error_kind(&*error), "a connection ended early");
    }
}

/// hyper's texts name what went wrong and quote nothing, but their sources may.
fn error_kind(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    error.downcast_ref::<hyper::Error>().map_or_else(|| "i/o".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests;
