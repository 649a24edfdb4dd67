//! A fake API server for unit tests: it gives the answers that a test chooses, and records the requests. What depends on the
//! behaviour of a real API server is tested on one (`tests/tests/operator`).

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::Response;
use kube::{Client, Config, client::Body};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Duration, sleep},
};
use tower_service::Service;

use crate::sync::lock;

/// A request as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    /// Null if there was none.
    pub body: Value,
}

impl Request {
    pub fn is_watch(&self) -> bool {
        self.path.contains("watch=true")
    }
}

/// A status and a body; `None` leaves the request without an answer.
pub type Answer = Option<(u16, Value)>;

/// A status and the text of a body.
type AnswerText = Option<(u16, String)>;

/// Ends with its value.
pub struct FakeApi {
    requests: Arc<Mutex<Vec<Request>>>,
    server: Server,
}

enum Server {
    Listening { url: String, _task: JoinSet<()> },
    InProcess(Client),
}

impl FakeApi {
    pub async fn start(mut answer: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        Self::start_with_text(move |request| answer(request).map(|(status, body)| (status, body.to_string()))).await
    }

    /// Gives these texts in turn, each with the status 200, and leaves further requests without an answer.
    pub async fn of_texts(texts: Vec<String>) -> Self {
        let mut texts = texts.into_iter();
        Self::start_with_text(move |_| texts.next().map(|text| (200, text))).await
    }

    async fn start_with_text(mut answer: impl FnMut(&Request) -> AnswerText + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let log = Arc::clone(&requests);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut unanswered = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let request = read(&mut stream).await;
                let answer = answer(&request);
                lock(&log).push(request);
                match answer {
                    Some((status, body)) => write(stream, status, &body).await,
                    None => unanswered.push(stream),
                }
            }
        });
        Self { requests, server: Server::Listening { url, _task: server } }
    }

    /// Gives these answers in turn, and leaves further requests without an answer.
    pub async fn in_turn(answers: Vec<(u16, Value)>) -> Self {
        let mut answers = answers.into_iter();
        Self::start(move |_| answers.next()).await
    }

    /// One without a connection, so that a test can have a clock of its own. Each answer comes after this delay.
    pub fn in_process(
        delay: impl Fn(&Request) -> Duration + Send + Sync + 'static,
        mut answer: impl FnMut(&Request) -> Answer + Send + 'static,
    ) -> Self {
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let log = Arc::clone(&requests);
        let answer = move |request: &Request| {
            lock(&log).push(request.clone());
            answer(request)
        };
        let client = Client::new(InProcess { delay: Arc::new(delay), answer: Arc::new(Mutex::new(answer)) }, "default");
        Self { requests, server: Server::InProcess(client) }
    }

    pub fn client(&self) -> Client {
        let url = match &self.server {
            Server::Listening { url, .. } => url,
            Server::InProcess(client) => return client.clone(),
        };
        let mut config = Config::new(url.parse().unwrap());
        config.default_retry = false;
        Client::try_from(config).unwrap()
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.requests).clone()
    }
}

/// An API server without a connection, so that a test can have a clock of its own.
pub fn in_process(answer: impl FnMut(&Request) -> Answer + Send + 'static) -> Client {
    FakeApi::in_process(|_| Duration::ZERO, answer).client()
}

type Answering = dyn FnMut(&Request) -> Answer + Send;

#[derive(Clone)]
struct InProcess {
    delay: Arc<dyn Fn(&Request) -> Duration + Send + Sync>,
    answer: Arc<Mutex<Answering>>,
}

impl Service<http::Request<Body>> for InProcess {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Self { delay, answer } = self.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap_or_default();
            let request = Request { method: parts.method.to_string(), path: parts.uri.to_string(), body };
            let answer = lock(&answer)(&request);
            sleep(delay(&request)).await;
            let Some((code, answer)) = answer else { return std::future::pending().await };
            Ok(Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())).unwrap())
        }
        .boxed()
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Request {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.unwrap();
        match header.trim().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap()
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    Request { method, path, body: serde_json::from_slice(&body).unwrap_or_default() }
}

async fn write(mut stream: BufReader<TcpStream>, status: u16, body: &str) {
    let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// A list of objects in namespace `sales`, all of one resourceVersion.
pub fn list(version: &str, names: &[&str]) -> (u16, Value) {
    list_in("sales", version, names)
}

pub fn list_in(namespace: &str, version: &str, names: &[&str]) -> (u16, Value) {
    let item = |name: &&str| json!({"metadata": {"name": name, "namespace": namespace, "resourceVersion": version}});
    let items: Vec<Value> = names.iter().map(item).collect();
    (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}))
}

/// An error as the API server words it.
pub fn refusal(code: u16) -> (u16, Value) {
    let (reason, message) = match code {
        403 => ("Forbidden", "forbidden"),
        404 => ("NotFound", "not found"),
        409 => ("AlreadyExists", "already exists"),
        410 => ("Expired", "too old resource version"),
        _ => ("InternalError", "an error"),
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    (code, status)
}

/// Keeps the objects that it is sent, as far as a reconcile needs that: what is created is read back, and has a UID, a
/// resourceVersion and its creator's managedFields. `refuse` is asked first.
pub async fn storing(mut refuse: impl FnMut(&Request) -> Answer + Send + 'static) -> FakeApi {
    let mut kept = kept();
    FakeApi::start(move |request| refuse(request).or_else(|| Some(kept(request)))).await
}

/// Lists these objects, each with its plural, and keeps what it is sent as [`storing`] does. Watches are not answered.
pub async fn listing(objects: Vec<(&'static str, Value)>) -> FakeApi {
    let mut kept = kept();
    FakeApi::start(move |request| {
        let path = request.path.split('?').next().unwrap_or_default();
        let is_list = request.method == "GET" && !path.contains("/namespaces/");
        if request.is_watch() {
            return None;
        }
        if !is_list {
            return Some(kept(request));
        }
        let items: Vec<&Value> =
            objects.iter().filter(|(plural, _)| path.ends_with(plural)).map(|(_, it)| it).collect();
        Some((200, json!({"metadata": {"resourceVersion": "9"}, "items": items})))
    })
    .await
}

fn kept() -> impl FnMut(&Request) -> (u16, Value) + Send {
    let mut objects = std::collections::BTreeMap::<String, Value>::new();
    let mut version = 0;
    move |request| {
        version += 1;
        let path = request.path.split('?').next().unwrap_or_default().trim_end_matches("/status").to_owned();
        let answer = match request.method.as_str() {
            "POST" => {
                let mut object = request.body.clone();
                object["metadata"]["uid"] = json!(format!("uid-{version}"));
                object["metadata"]["resourceVersion"] = json!(version.to_string());
                object["metadata"]["managedFields"] = json!([{"manager": super::FIELD_MANAGER, "operation": "Update"}]);
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                objects.insert(format!("{path}/{name}"), object.clone());
                Some(object)
            }
            "PATCH" => Some(request.body.clone()),
            "DELETE" => objects.remove(&path),
            _ => objects.get(&path).cloned(),
        };
        answer.map_or_else(|| refusal(404), |object| (200, object))
    }
}
