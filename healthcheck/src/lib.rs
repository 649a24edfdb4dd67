//! Asks a program in the same container whether it is alive: the `health` command of both programs, for a container engine without
//! probes over HTTP, and for an image without a shell.
//!
//! It is one request on a blocking socket, without a runtime and without TLS, and has a deadline as a whole. Which path is asked, and
//! where the program listens, is left to the caller.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long the answer may take, connection included.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// What is read of an answer at most, in bytes.
const LONGEST_ANSWER: u64 = 8 * 1024;
/// What is repeated of the first line of a body at most, in characters.
const LONGEST_LINE: usize = 200;

/// Why the program is not taken to be alive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{url}: {error}")]
    NoAnswer { url: String, error: io::Error },
    #[error("{0}: the answer is not HTTP")]
    NotHttp(String),
    #[error("{0}")]
    Unhealthy(String),
}

/// Asks for a path of the program that listens at an address, and returns a line about its answer, which was a success. `[::]` and
/// `0.0.0.0` are asked at 127.0.0.1, because they include IPv4.
///
/// # Errors
/// Returns an error if there is no answer within [`DEADLINE`], or if it is not a success.
pub fn ask(listen: SocketAddr, path: &str) -> Result<String, Error> {
    ask_within(DEADLINE, listen, path)
}

fn ask_within(deadline: Duration, listen: SocketAddr, path: &str) -> Result<String, Error> {
    let address = reachable(listen);
    let url = format!("http://{address}{path}");
    let answer = match exchange(deadline, address, path) {
        Ok(answer) => answer,
        Err(error) => return Err(Error::NoAnswer { url, error }),
    };
    let Some(Answer { code, status, line }) = read(&answer) else { return Err(Error::NotHttp(url)) };
    let line = if line.is_empty() { format!("{url}: {status}") } else { format!("{url}: {status}: {line}") };
    if (200..300).contains(&code) { Ok(line) } else { Err(Error::Unhealthy(line)) }
}

fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    (ip, listen.port()).into()
}

/// Sends the request and reads its answer to the end, or as far as it is of interest.
fn exchange(deadline: Duration, address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let until = Instant::now() + deadline;
    let left = || match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {deadline:?}"))),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    loop {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(length) => answer.extend_from_slice(part.get(..length).unwrap_or_default()),
            // The time is over, which `left` says in words.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if answer.len() as u64 >= LONGEST_ANSWER {
            return Ok(answer);
        }
    }
}

struct Answer {
    code: u16,
    /// The code and its words.
    status: String,
    /// The first line of the body.
    line: String,
}

fn read(answer: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let (version, status) = head.lines().next()?.split_once(' ')?;
    let code = status.split(' ').next()?.parse().ok()?;
    let line = body.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(LONGEST_LINE);
    version.starts_with("HTTP/1.").then(|| Answer { code, status: status.trim().to_owned(), line: line.collect() })
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv6Addr, TcpListener},
        thread,
    };

    use super::*;

    /// Answers one request with these bytes, and returns what was asked.
    fn server(answer: Vec<u8>) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            // The other side may have read enough.
            let _ = stream.write_all(&answer);
            String::from_utf8(request).unwrap()
        });
        (address, served)
    }

    #[test]
    fn the_line_says_what_was_answered() {
        let long = format!("HTTP/1.1 500 Internal Server Error\r\n\r\n{}", "x".repeat(20_000));
        let cut = format!("500 Internal Server Error: {}", "x".repeat(LONGEST_LINE));
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n", Ok("200 OK: ok")),
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok("204 No Content")),
            ("HTTP/1.1 200 \r\n\r\n", Ok("200")),
            (
                "HTTP/1.1 503 Service Unavailable\r\n\r\ndriver: \x1b[1mstuck\nqueue: stuck\n",
                Err("503 Service Unavailable: driver: [1mstuck"),
            ),
            ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", Err("302 Found")),
            (&long, Err(&*cut)),
            ("SSH-2.0-OpenSSH_9.6\r\n\r\n", Err("the answer is not HTTP")),
            ("HTTP/1.1 200 OK\r\n", Err("the answer is not HTTP")),
            ("", Err("the answer is not HTTP")),
        ] {
            let (address, served) = server(answer.into());
            let found = ask(address, "/livez").map_err(|error| error.to_string());
            let line = |text: &str| format!("http://{address}/livez: {text}");
            assert_eq!(found, expected.map(line).map_err(line), "{answer}");
            let request = format!("GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            assert_eq!(served.join().unwrap(), request);
        }
    }

    #[test]
    fn a_program_that_does_not_listen_or_answer_is_not_alive() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ask = || ask_within(Duration::from_millis(50), address, "/livez").map_err(|error| error.to_string());
        let line = |text: &str| Err(format!("http://{address}/livez: {text}"));
        assert_eq!(ask(), line("no answer within 50ms"));
        drop(listener);
        assert_eq!(ask(), line("Connection refused (os error 111)"));
    }

    #[test]
    fn an_address_that_stands_for_all_is_asked_at_loopback() {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for (listen, expected) in [
            (SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8080)), loopback(8080)),
            (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9090)), loopback(9090)),
            (SocketAddr::from((Ipv6Addr::LOCALHOST, 9090)), SocketAddr::from((Ipv6Addr::LOCALHOST, 9090))),
            (SocketAddr::from(([10, 0, 0, 7], 9090)), SocketAddr::from(([10, 0, 0, 7], 9090))),
        ] {
            assert_eq!(reachable(listen), expected);
        }
    }
}
