//! Connections to backends: the name is resolved, and only addresses that the rules admit are dialed.
//!
//! Every connection of the HTTP client passes here, also one to an address in a URL, so that the rules cannot be circumvented.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use http::Uri;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{net::TcpStream, sync::Semaphore};
use tower_service::Service;

use super::{
    address::AddressPolicy,
    places::{Place, Places},
};
use crate::net;

/// How long a connection to one of several addresses may take.
const ONE_ADDRESS: Duration = Duration::from_secs(2);
/// After how long without a connection the next address is tried beside the others (RFC 8305, 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// The most addresses of a name that are tried.
const ADDRESSES: usize = 8;
/// Look-ups of a backend's name at once. Each holds a thread until the resolver gives up, however long its callers wait.
const LOOKUPS: usize = 2;

/// Opens connections to one backend. Clones share its look-ups.
#[derive(Clone, Debug)]
pub struct Dialer {
    addresses: AddressPolicy,
    places: Places,
    lookups: Arc<Semaphore>,
    last: Arc<Mutex<Option<Lookup>>>,
}

/// What a name resolved to.
#[derive(Debug)]
struct Lookup {
    name: (String, u16),
    ended: Instant,
    addresses: Vec<SocketAddr>,
}

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
    #[error("there was no connection in time")]
    TooSlow,
    #[error("as many connections to backends are open as the limit of open files allows")]
    NoPlace,
}

impl Dialer {
    /// A connection has its place; further addresses that are tried beside the first take places that are free.
    pub fn new(addresses: AddressPolicy, places: Places) -> Self {
        Self { addresses, places, lookups: Arc::new(Semaphore::new(LOOKUPS)), last: Arc::default() }
    }

    /// Connects to the host and port of a URL.
    ///
    /// # Errors
    /// Returns an error if none of its addresses may be dialed, or if none accepts the connection.
    pub async fn dial(&self, uri: &Uri) -> Result<TcpStream, DialError> {
        let host = uri.host().ok_or(DialError::NoHost)?;
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let addresses = self.resolve(host, port).await.map_err(DialError::Name)?;
        self.dial_any(addresses).await
    }

    /// Connects to one of these addresses.
    async fn dial_any(&self, addresses: Vec<SocketAddr>) -> Result<TcpStream, DialError> {
        let admitted = addresses.into_iter().filter(|address| self.addresses.admits(address.ip())).take(ADDRESSES);
        let mut rest = admitted.collect::<Vec<_>>().into_iter();
        let mut last = DialError::NotAllowed;
        let mut attempts = FuturesUnordered::new();
        loop {
            let place = if attempts.is_empty() { None } else { self.places.take_free() };
            if attempts.is_empty() || place.is_some() {
                attempts.extend(rest.next().map(|address| connect(address, place)));
            }
            tokio::select! {
                connected = attempts.next() => match connected {
                    Some(Ok(stream)) => return Ok(stream),
                    Some(Err(error)) => last = error,
                    None => return Err(last),
                },
                () = tokio::time::sleep(NEXT_ADDRESS), if rest.len() > 0 => {}
            }
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let (asked, name) = (Instant::now(), (bare.to_owned(), port));
        let permit = self.lookups.clone().acquire_owned().await.map_err(io::Error::other)?;
        // One that ended since answers this as well.
        if let Some(last) = &*self.last.lock()
            && last.name == name
            && last.ended >= asked
        {
            return Ok(last.addresses.clone());
        }
        let last = self.last.clone();
        let looking_up = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let addresses: Vec<_> = (name.0.as_str(), name.1).to_socket_addrs()?.collect();
            *last.lock() = Some(Lookup { name, ended: Instant::now(), addresses: addresses.clone() });
            Ok(addresses)
        });
        looking_up.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

async fn connect(address: SocketAddr, _place: Option<Place>) -> Result<TcpStream, DialError> {
    let connected = tokio::time::timeout(ONE_ADDRESS, net::connect(address)).await;
    connected.map_err(|_| DialError::TooSlow)?.map_err(DialError::Connect)
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(&uri).await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn dialer(addresses: AddressPolicy) -> Dialer {
        Dialer::new(addresses, Places::new(8))
    }

    #[tokio::test]
    async fn of_the_addresses_of_a_name_only_those_that_are_allowed_are_dialed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let metadata = SocketAddr::from(([169, 254, 169, 254], here.port()));
        let wrapped: SocketAddr = format!("[::ffff:169.254.169.254]:{}", here.port()).parse().unwrap();
        let all = vec![metadata, wrapped, here];
        let stream = dialer(AddressPolicy::ServicesAndLoopback).dial_any(all.clone()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), here);
        let refused = dialer(AddressPolicy::Services).dial_any(all).await;
        assert!(matches!(refused, Err(DialError::NotAllowed)), "{refused:?}");
    }

    #[tokio::test]
    async fn a_host_in_any_spelling_is_judged_by_the_address_that_is_dialed() {
        for host in
            ["127.0.0.1", "localhost", "2130706433", "127.1", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]"]
        {
            let uri: Uri = format!("http://{host}:9/").parse().unwrap();
            let refused = dialer(AddressPolicy::Services).dial(&uri).await;
            assert!(matches!(refused, Err(DialError::NotAllowed | DialError::Name(_))), "{host}: {refused:?}");
        }
        for host in ["2852039166", "0xa9fea9fe", "[fe80::1]", "[64:ff9b::a9fe:a9fe]", "[::]", "0"] {
            let uri: Uri = format!("http://{host}:9/").parse().unwrap();
            let refused = dialer(AddressPolicy::ServicesAndLoopback).dial(&uri).await;
            assert!(matches!(refused, Err(DialError::NotAllowed | DialError::Name(_))), "{host}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_hide_the_next_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let here = listener.local_addr().unwrap();
        let stream = dialer(AddressPolicy::ServicesAndLoopback).dial_any(vec![closed, here]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), here);
    }
}
