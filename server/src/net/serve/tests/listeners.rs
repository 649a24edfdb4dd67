//! Connections that are not TCP, and connections that have to be established first.

use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use super::*;
use crate::net::Hangup;

const READ_AHEAD: usize = 16 * 1024;

/// Accepts the ends of pipes.
pub(super) struct Pipes(pub mpsc::Receiver<DuplexStream>);

/// A pipe whose peer begins with one byte, which becomes the last part of its address.
pub(super) struct NewPipe(DuplexStream);

/// One that is established. What a peer closes is found by reading ahead, which has a bound.
pub(super) struct Pipe {
    stream: DuplexStream,
    ahead: Vec<u8>,
    is_closed: bool,
}

impl Listener for Pipes {
    type Accepted = NewPipe;

    async fn accept(&mut self) -> io::Result<NewPipe> {
        match self.0.recv().await {
            Some(pipe) => Ok(NewPipe(pipe)),
            None => std::future::pending().await,
        }
    }
}

impl Stream for Pipe {
    fn has_unread(&self) -> bool {
        // The runtime hears of all bytes of a pipe.
        false
    }

    fn poll_hangup(&mut self, cx: &mut Context<'_>, _: &mut bool) -> Poll<Hangup> {
        while !self.is_closed {
            let mut buffer = [0; 256];
            let mut buffer = ReadBuf::new(&mut buffer);
            if self.ahead.len() >= READ_AHEAD {
                return Poll::Pending;
            }
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            self.is_closed = read.is_err() || buffer.filled().is_empty();
            self.ahead.extend_from_slice(buffer.filled());
        }
        Poll::Ready(Hangup::Both)
    }

    fn read_now(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return if self.is_closed { Poll::Ready(Ok(())) } else { Pin::new(&mut self.stream).poll_read(cx, buffer) };
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..length]);
        self.ahead.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Accepted for NewPipe {
    type Stream = Pipe;

    fn peer(&self) -> SocketAddr {
        "192.0.2.1:1".parse().unwrap()
    }

    async fn establish(mut self) -> io::Result<(Pipe, ConnectionFacts)> {
        let peer = SocketAddr::new([127, 0, 0, self.0.read_u8().await?].into(), 1);
        Ok((Pipe { stream: self.0, ahead: Vec::new(), is_closed: false }, ConnectionFacts { peer }))
    }
}

/// As where the system cannot be told to refuse new connections.
#[tokio::test(start_paused = true)]
async fn those_who_connect_again_and_again_do_not_delay_a_stop() {
    let (connect, accepted) = mpsc::channel(8);
    let (stop, stopped) = oneshot::channel::<Duration>();
    let serving = serve(Pipes(accepted), Arc::new(Answers::new(STREAM)), bounds(), Connections::default(), async {
        stopped.await.unwrap_or_default()
    });
    let serving = tokio::spawn(serving);
    let connecting = tokio::spawn(async move {
        let mut connected = 0;
        loop {
            let (mut ours, theirs) = duplex(4_096);
            ours.write_all(b"\x07GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            if connect.send(theirs).await.is_err() {
                return connected;
            }
            connected += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    stop.send(PATIENCE).unwrap();
    assert!(serving.await.unwrap());
    let connected = connecting.await.unwrap();
    assert!((2..200).contains(&connected), "{connected} were accepted after the beginning of the stop");
}

#[tokio::test(start_paused = true)]
async fn any_byte_stream_is_served_with_the_facts_of_its_connection() {
    let (connect, accepted) = mpsc::channel(8);
    let bounds = Bounds { handshake: Duration::from_millis(100), ..bounds() };
    let connections = Connections::default();
    let (stop, stopped) = oneshot::channel::<Duration>();
    let serving = serve(Pipes(accepted), Arc::new(Answers::new(STREAM)), bounds, connections.clone(), async {
        stopped.await.unwrap_or_default()
    });
    let serving = tokio::spawn(serving);
    let open = async || {
        let (ours, theirs) = duplex(4_096);
        connect.send(theirs).await.unwrap();
        ours
    };
    // A peer that never completes its handshake delays nobody, and is closed.
    let (mut silent, mut pipe) = (open().await, open().await);
    pipe.write_all(b"\x07GET /peer HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_until(&mut pipe, "\r\n\r\n127.0.0.7").await;
    echo(&mut pipe, "and again").await;
    assert_eq!(read_to_close(&mut silent).await, "");

    // One that is still being established does not delay a stop.
    let mut late = open().await;
    while connections.count() < 2 {
        tokio::task::yield_now().await;
    }
    stop.send(PATIENCE).unwrap();
    assert_eq!((read_to_close(&mut late).await, read_to_close(&mut pipe).await), (String::new(), String::new()));
    assert!(serving.await.unwrap());
}
