//! What a peer has closed while its request is answered, when nobody reads from it.
//!
//! An end of its bytes alone is ambiguous (RFC 9112, section 9.6): the peer may be gone, or may wait for its answer. A reset is not.
//! Bytes that it sent behind its request are left where they are, and hide neither of them.

use std::{
    io::{self, Read},
    task::{Context, Poll, ready},
};

use futures::FutureExt;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

/// What a peer has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// Its own direction: it sends no more, and may still read.
    Sending,
    /// The connection is reset, or broken: nothing reaches the peer.
    Both,
}

/// Waits until the system has heard that the peer has closed something. Afterwards the runtime may know nothing of bytes that were
/// received before: `hides` is set, and [`read_now`] reads them.
pub(super) fn poll_tcp(stream: &TcpStream, cx: &mut Context<'_>, hides: &mut bool) -> Poll<Hangup> {
    loop {
        if ready!(stream.poll_read_ready(cx)).is_err() {
            return Poll::Ready(Hangup::Both);
        }
        let all = Interest::READABLE | Interest::WRITABLE | Interest::ERROR;
        // It is ready already.
        let Some(state) = stream.ready(all).now_or_never() else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        match state {
            Err(_) => return Poll::Ready(Hangup::Both),
            Ok(state) if state.is_error() || state.is_write_closed() => return Poll::Ready(Hangup::Both),
            Ok(state) if state.is_read_closed() => return Poll::Ready(Hangup::Sending),
            // There are bytes. The runtime forgets them, so that it waits for the next event.
            Ok(_) => {
                *hides = true;
                let _ = stream.try_io(Interest::READABLE, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
            }
        }
    }
}

/// Reads what the system has, whatever the runtime knows.
///
/// # Errors
/// Returns [`WouldBlock`](io::ErrorKind::WouldBlock) if there is nothing, or the error of the connection.
pub(super) fn read_now(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    (&*SockRef::from(stream)).read(buffer)
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    #[tokio::test]
    async fn what_a_peer_closes_is_seen_whatever_it_sent_before_and_its_bytes_are_kept() {
        for sent in [&b""[..], b"x", &[b'x'; 5_000]] {
            for is_reset in [false, true] {
                let (mut peer, mut stream) = pair().await;
                let (first, rest) = sent.split_at(sent.len() / 2);
                peer.write_all(first).await.unwrap();
                let mut hides = false;
                let mut closed = Box::pin(poll_fn(|cx| poll_tcp(&stream, cx, &mut hides)));
                let waited = tokio::time::timeout(Duration::from_millis(20), &mut closed).await;
                assert!(waited.is_err(), "nothing is closed: {waited:?}");
                peer.write_all(rest).await.unwrap();
                if is_reset {
                    peer.set_zero_linger().unwrap();
                    drop(peer);
                    assert_eq!(closed.await, Hangup::Both);
                    continue;
                }
                peer.shutdown().await.unwrap();
                assert_eq!(closed.await, Hangup::Sending);
                let mut read = vec![0; sent.len()];
                let mut length = 0;
                while length < sent.len() {
                    length += read_now(&stream, &mut read[length..]).unwrap();
                }
                assert_eq!(read, sent);
                assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            }
        }
    }
}
