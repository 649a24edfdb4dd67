//! Connections to backends: the name is resolved, and only addresses that the rules admit are dialed.
//!
//! Every connection of the HTTP client passes here, also one to an address in a URL, so that the rules cannot be circumvented.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::address::AddressPolicy;

/// How long a connection to one of several addresses may take.
const ONE_ADDRESS: Duration = Duration::from_secs(2);

/// Opens connections.
#[derive(Clone, Copy, Debug)]
pub struct Dialer(pub AddressPolicy);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("its address is not allowed: loopback, link-local, multicast and metadata addresses are not dialed")]
    NotAllowed,
    #[error("its URL has no host")]
    NoHost,
    #[error("its name cannot be resolved: {0}")]
    Name(io::Error),
    #[error("it cannot be connected to: {0}")]
    Connect(io::Error),
}

impl Dialer {
    /// Connects to the host and port of a URL.
    ///
    /// # Errors
    /// Returns an error if none of its addresses may be dialed, or if none accepts the connection.
    pub async fn dial(self, uri: &Uri) -> Result<TcpStream, DialError> {
        let host = uri.host().ok_or(DialError::NoHost)?;
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let addresses = resolve(host, port).await.map_err(DialError::Name)?;
        let mut last = DialError::NotAllowed;
        for address in addresses.into_iter().filter(|address| self.0.admits(address.ip())) {
            match tokio::time::timeout(ONE_ADDRESS, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Without this, small requests wait for acknowledgements. The socket works even if it fails.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = DialError::Connect(error),
                Err(_) => last = DialError::Connect(io::ErrorKind::TimedOut.into()),
            }
        }
        Err(last)
    }
}

async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::new(address, port)]),
        Err(_) => Ok(tokio::net::lookup_host((bare, port)).await?.collect()),
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = *self;
        Box::pin(async move { dialer.dial(&uri).await.map(TokioIo::new) })
    }
}
