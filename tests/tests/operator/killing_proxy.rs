//! A proxy between an operator and the API server. It lets a number of writes through, and kills the operator before the response
//! to the last one arrives.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;

pub struct KillingProxy {
    /// The kubeconfig of an operator that is to use this proxy.
    pub kubeconfig: PathBuf,
    inner: Arc<Inner>,
    _server: JoinSet<()>,
}

struct Inner {
    client: Client,
    left: AtomicUsize,
    operator: AtomicI32,
}

impl KillingProxy {
    /// In front of the cluster of this kubeconfig, with the rights of its user.
    pub async fn start(kubeconfig: &Path, folder: &Path) -> Self {
        let mut kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let inner = Inner { client, left: AtomicUsize::new(usize::MAX), operator: AtomicI32::new(0) };
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
        let path = folder.join("killing-proxy.kubeconfig");
        std::fs::write(&path, serde_json::to_string(&kubeconfig).unwrap()).unwrap();
        Self { kubeconfig: path, inner, _server: server }
    }

    /// Lets so many writes through from now on; after the last one the operator is killed.
    pub fn let_through(&self, writes: usize) {
        self.inner.left.store(writes, Ordering::SeqCst);
    }

    /// Sets the process to kill.
    pub fn kills(&self, operator: Pid) {
        self.inner.operator.store(operator.as_raw_nonzero().get(), Ordering::SeqCst);
    }
}

async fn pass(State(proxy): State<Arc<Inner>>, request: Request) -> Response {
    let is_write = request.method() != Method::GET;
    if is_write && proxy.left.load(Ordering::SeqCst) == 0 {
        return std::future::pending().await;
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove("host");
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let uri = parts.uri.path_and_query().unwrap().as_str().to_owned();
    let mut forwarded = axum::http::Request::builder().method(parts.method).uri(uri);
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
    response.map(Body::new)
}
