use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::net::TcpListener;

use super::Bounds;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error = Infallible> + Send + 'static;

    /// `peer` is the other end of the connection. Dropped where the caller goes away before the answer.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// How many connections there are now (for the metric). Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Connections {}

impl Connections {
    pub fn count(&self) -> usize {
        unimplemented!()
    }
}

/// Serves HTTP/1.1 and HTTP/2 on `listener` until `stop` is ready; then accepts no more, finishes the calls in flight and
/// returns, after `bounds.drain` at the latest. Says whether all were finished.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    bounds: Bounds,
    connections: Connections,
    stop: impl Future<Output = ()> + Send,
) -> bool {
    let _ = (listener, handler, bounds, connections);
    stop.await;
    unimplemented!()
}
