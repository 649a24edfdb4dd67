//! What the tests of the whole server share: the binary with a policy written by hand, raw HTTP, and a backend that remembers
//! what it received, byte for byte.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use portcullis_crds::credentials::KeyDigest;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything that should happen may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server. It ends with this value.
pub struct Server {
    pub directory: TempDir,
    pub main: SocketAddr,
    pub admin: SocketAddr,
    child: Child,
    stdin: Option<ChildStdin>,
    log: Arc<Mutex<Vec<Value>>>,
    /// Whether nobody reads the log.
    is_blocked: Arc<AtomicBool>,
}

impl Server {
    /// With these two documents, as JSON (which is YAML too).
    pub fn start(policy: &Value, credentials: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        publish(directory.path(), policy, credentials);
        Self::start_in(directory)
    }

    pub fn start_in(directory: TempDir) -> Self {
        Self::start_with(directory, &["--allow-loopback-backends"])
    }

    /// With more arguments than those that every test gives.
    pub fn start_with(directory: TempDir, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis-server"))
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--stop-with-stdin"])
            .args(["--drain", "0", "--pod-uid", "pod-1", "--config"])
            .arg(directory.path())
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let is_blocked = Arc::new(AtomicBool::new(false));
        let (mut lines, sink) = (BufReader::new(child.stdout.take().unwrap()).lines(), log.clone());
        let wait = is_blocked.clone();
        thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                sink.lock().unwrap().push(serde_json::from_str(&line).unwrap());
                while wait.load(Relaxed) {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let stdin = child.stdin.take();
        let nowhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut server = Self { directory, main: nowhere, admin: nowhere, child, stdin, log, is_blocked };
        let started = server.event("server_started");
        server.main = started["listen"].as_str().unwrap().parse().unwrap();
        server.admin = started["admin"].as_str().unwrap().parse().unwrap();
        server
    }

    /// Replaces a document.
    pub fn write(&self, name: &str, document: &Value) {
        write(self.directory.path(), name, document);
    }

    /// Lines of the log so far.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// Those of one event.
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["event"] == event).collect()
    }

    /// Waits for an event.
    pub fn event(&self, event: &str) -> Value {
        eventually(event, || self.events(event).into_iter().next())
    }

    /// Ends its standard input, and waits for its end.
    pub fn stop(&mut self) -> i32 {
        self.stdin = None;
        self.wait()
    }

    /// Waits for its end: the exit code.
    pub fn wait(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Bytes of memory that it has now.
    pub fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")).unwrap();
        kib.parse::<usize>().unwrap() * 1024
    }

    /// Reads the log no more, so that writing it blocks once the pipe is full.
    pub fn block_log(&self) {
        self.is_blocked.store(true, Relaxed);
    }

    pub fn unblock_log(&self) {
        self.is_blocked.store(false, Relaxed);
    }

    pub fn get(&self, address: SocketAddr, path: &str) -> Answer {
        exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
    }

    /// A JSON-RPC request of a client.
    pub fn ask(&self, key: &str, method: &str, params: &Value) -> Answer {
        self.post(key, &json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string())
    }

    pub fn call(&self, key: &str, tool: &str, arguments: &Value) -> Answer {
        self.ask(key, "tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    pub fn post(&self, key: &str, body: &str) -> Answer {
        self.send(&[("x-api-key", key), ("content-type", "application/json")], body)
    }

    /// A POST to `/mcp` with these headers.
    pub fn send(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut headers = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == "host") {
            headers.push(("host", "localhost"));
        }
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        exchange(
            self.main,
            &format!("POST /mcp HTTP/1.1\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes both documents.
pub fn publish(directory: &Path, policy: &Value, credentials: &Value) {
    write(directory, "policy.yaml", policy);
    write(directory, "credentials.yaml", credentials);
}

fn write(directory: &Path, name: &str, document: &Value) {
    let next = directory.join(format!(".{name}"));
    fs::write(&next, document.to_string()).unwrap();
    fs::rename(next, directory.join(name)).unwrap();
}

/// Waits until `probe` has something.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < until, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An answer as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The status, and the code of a JSON-RPC error.
    pub fn verdict(&self) -> (u16, Option<i64>) {
        let code = serde_json::from_str::<Value>(&self.body).ok().and_then(|body| body["error"]["code"].as_i64());
        (self.status, code)
    }
}

/// Sends bytes, and reads the one answer to them.
pub fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses early does not read the rest.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    Answer { status, headers, body: body.to_owned() }
}

/// A backend that remembers the requests that it received, and gives one answer to all.
pub struct Backend {
    pub url: String,
    received: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<Reply>>,
}

#[derive(Clone)]
struct Reply {
    status: u16,
    body: String,
    after: Duration,
    /// Closes each connection after its answer, without a word of warning.
    closes: bool,
}

impl Backend {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let answer =
            Arc::new(Mutex::new(Reply { status: 200, body: "{}".to_owned(), after: Duration::ZERO, closes: false }));
        let (sink, source) = (received.clone(), answer.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sink, source) = (sink.clone(), source.clone());
                thread::spawn(move || serve(stream, &sink, &source));
            }
        });
        Self { url, received, answer }
    }

    pub fn answer(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = Reply { status, body: body.to_owned(), after: Duration::ZERO, closes: false };
    }

    pub fn answer_after(&self, after: Duration) {
        self.answer.lock().unwrap().after = after;
    }

    pub fn close_after_each(&self) {
        self.answer.lock().unwrap().closes = true;
    }

    /// How many requests there are to look at.
    pub fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Head and body of each request since the last look.
    pub fn received(&self) -> Vec<String> {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, received: &Mutex<Vec<String>>, answer: &Mutex<Reply>) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 65_536];
    loop {
        let Ok(read @ 1..) = stream.read(&mut chunk) else { return };
        bytes.extend_from_slice(&chunk[..read]);
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if bytes.len() < head + 4 + length {
            continue;
        }
        received.lock().unwrap().push(String::from_utf8(std::mem::take(&mut bytes)).unwrap());
        let Reply { status, body, after, closes } = answer.lock().unwrap().clone();
        thread::sleep(after);
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).is_err() || closes {
            return;
        }
    }
}

/// A client with one key, `key-of-<id>`, and plenty of calls.
pub fn client(id: &str, tools: &[&str]) -> Value {
    json!({"id": id, "uid": format!("uid-{id}"), "tools": tools, "maxRecordsPerQuery": 2, "allowWrite": true,
        "limits": [{"requests": 1000, "per": "1m"}]})
}

pub fn key(id: &str) -> String {
    format!("key-of-{id}")
}

/// Credentials of these clients.
pub fn credentials(ids: &[&str]) -> Value {
    let clients: Vec<_> = ids
        .iter()
        .map(|id| {
            let sha256 = String::from(KeyDigest::of(key(id).as_bytes()));
            json!({"id": id, "uid": format!("uid-{id}"), "apiKeys": [{"id": format!("k-{id}"), "sha256": sha256}]})
        })
        .collect();
    json!({"contract": 1, "clients": clients})
}

/// A policy of these clients: a static tool, one with a list, and some of a backend.
pub fn policy(backend: &str, clients: &[Value]) -> Value {
    let text = json!({"type": "string"});
    json!({
        "contract": 1,
        "server": {"namespace": "test", "name": "things", "hosts": ["things.test.svc"]},
        "spec": {
            "backends": [{"name": "fixed", "static": {}}, {"name": "api", "http": {"url": backend}}],
            "limits": {"global": {"requests": 100_000, "per": "1m", "maxShare": 100}, "perClient": {"requests": 60, "per": "1m"},
                "expensiveTools": {"requests": 2, "per": "1m"}},
            "tools": [
                {"name": "greet", "description": "Greets.", "backend": "fixed",
                    "inputSchema": {"type": "object", "required": ["name"], "additionalProperties": false,
                        "properties": {"name": {"type": "string", "maxLength": 20}}},
                    "static": {"text": "Hello {name}"}},
                {"name": "list", "description": "Lists.", "backend": "fixed", "expensive": true,
                    "static": {"structuredContent": {"items": [1, 2, 3], "next": "c"}},
                    "records": {"path": "/items", "cursorPath": "/next"}},
                {"name": "find", "description": "Finds.", "backend": "api",
                    "inputSchema": {"type": "object", "properties": {"q": {}, "limit": {"type": "integer", "minimum": 1}}},
                    "http": {"method": "GET", "path": "/things", "query": {"q": "{q}", "limit": "{limit}"}},
                    "records": {"path": "/items", "limitArgument": "limit"}},
                {"name": "read", "description": "Reads.", "backend": "api", "timeout": "500ms",
                    "inputSchema": {"type": "object", "required": ["id"], "properties": {"id": {}}},
                    "http": {"method": "GET", "path": "/things/{id}"}},
                {"name": "note", "description": "Notes.", "backend": "api",
                    "inputSchema": {"type": "object", "required": ["id"], "properties": {"id": text, "text": {}}},
                    "http": {"method": "POST", "path": "/things/{id}/notes", "body": {"text": "{text}"}}},
            ],
        },
        "clients": clients,
    })
}
