//! A proxy between an operator and the API server, for faults: it kills the operator after a number of writes, before the response
//! to the last one arrives, or delivers the events of a kind late.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use futures::StreamExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub struct FaultyProxy {
    /// The kubeconfig of an operator that is to use this proxy.
    pub kubeconfig: PathBuf,
    inner: Arc<Inner>,
    _server: JoinSet<()>,
}

struct Inner {
    client: Client,
    left: AtomicUsize,
    operator: AtomicI32,
    /// The plural of a kind, and how late its watches deliver.
    late: Mutex<Option<(&'static str, Duration)>>,
}

impl FaultyProxy {
    /// In front of the cluster of this kubeconfig, with the rights of its user.
    pub async fn start(kubeconfig: &Path, folder: &Path) -> Self {
        let mut kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let inner =
            Inner { client, left: AtomicUsize::new(usize::MAX), operator: AtomicI32::new(0), late: Mutex::default() };
        let inner = Arc::new(inner);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass).with_state(Arc::clone(&inner));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });

        for cluster in kubeconfig.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
            cluster.server = Some(format!("http://{address}"));
            cluster.certificate_authority = None;
            cluster.certificate_authority_data = None;
        }
        for user in &mut kubeconfig.auth_infos {
            user.auth_info = Some(Default::default());
        }
        let path = folder.join("faulty-proxy.kubeconfig");
        std::fs::write(&path, serde_json::to_string(&kubeconfig).unwrap()).unwrap();
        Self { kubeconfig: path, inner, _server: server }
    }

    /// Lets so many writes through from now on; after the last one the operator is killed.
    pub fn let_through(&self, writes: usize) {
        self.inner.left.store(writes, Ordering::SeqCst);
    }

    /// From now on the watches of this kind deliver so late.
    pub fn delays(&self, plural: &'static str, by: Duration) {
        *self.inner.late.lock().unwrap() = Some((plural, by));
    }

    /// Sets the process to kill.
    pub fn kills(&self, operator: Pid) {
        self.inner.operator.store(operator.as_raw_nonzero().get(), Ordering::SeqCst);
    }
}

async fn pass(State(proxy): State<Arc<Inner>>, request: Request) -> Response {
    // The Lease is renewed all the time.
    let is_write = request.method() != Method::GET && !request.uri().path().contains("/leases");
    if is_write && proxy.left.load(Ordering::SeqCst) == 0 {
        return std::future::pending().await;
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove("host");
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let uri = parts.uri.path_and_query().unwrap().as_str().to_owned();
    let mut forwarded = axum::http::Request::builder().method(parts.method).uri(&uri);
    *forwarded.headers_mut().unwrap() = parts.headers;
    let forwarded = forwarded.body(kube::client::Body::from(body.to_vec())).unwrap();
    let response = match proxy.client.send(forwarded).await {
        Ok(response) => response,
        Err(error) => {
            let text = Body::from(error.to_string());
            return Response::builder().status(StatusCode::BAD_GATEWAY).body(text).unwrap();
        }
    };
    if is_write && proxy.left.load(Ordering::SeqCst) != usize::MAX && proxy.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        let operator = Pid::from_raw(proxy.operator.load(Ordering::SeqCst)).unwrap();
        kill_process(operator, Signal::KILL).unwrap();
    }
    let is_watched =
        |plural: &str| uri.contains("watch=true") && uri.split('?').next().is_some_and(|path| path.ends_with(plural));
    let late = *proxy.late.lock().unwrap();
    match late.filter(|(plural, _)| is_watched(plural)) {
        Some((_, by)) => response.map(|body| delayed(Body::new(body), by)),
        None => response.map(Body::new),
    }
}

/// Each part of the body so much later than it arrives.
fn delayed(body: Body, by: Duration) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut parts = body.into_data_stream();
        while let Some(part) = parts.next().await {
            if sender.send((Instant::now() + by, part)).is_err() {
                return;
            }
        }
    });
    Body::from_stream(futures::stream::unfold(receiver, |mut receiver| async move {
        let (at, part) = receiver.recv().await?;
        tokio::time::sleep_until(at).await;
        Some((part, receiver))
    }))
}
