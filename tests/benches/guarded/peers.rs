//! The servers that guard nothing: an axum handler, and rmcp in its fastest configuration (stateless, JSON responses). Each runs in
//! a process of its own, which is this program with other arguments.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use rustix::process::Pid;

use crate::{Peer, PeerProcess};

/// Starts one of them, with responses of `length` bytes.
pub fn start(name: &'static str, length: usize) -> (PeerProcess, Peer) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut child = command.args([name, &length.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let peer = Peer::new(name, line.trim().parse().unwrap(), Pid::from_child(&child));
    (PeerProcess(child), peer)
}

fn serve(router: Router) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await.unwrap();
    });
}

/// Reads the body, and returns a text.
pub fn axum(length: usize) {
    let body: &'static str = "x".repeat(length).leak();
    let handler = async move |_: Bytes| ([(CONTENT_TYPE, "application/json")], body);
    serve(Router::new().route("/mcp", post(handler)));
}

#[derive(Clone)]
struct Echo(Arc<str>);

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        assert!(request.arguments.is_some_and(|arguments| arguments.contains_key("text")));
        Ok(CallToolResult::success(vec![ContentBlock::text(&*self.0)]).into())
    }
}

/// One tool that returns a text, padded so that the whole response has this length.
pub fn rmcp(length: usize) {
    let around = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":""}],"isError":false}}"#.len();
    let echo = Echo("x".repeat(length - around).into());
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_keep_alive(None);
    let service: StreamableHttpService<Echo, LocalSessionManager> =
        StreamableHttpService::new(move || Ok(echo.clone()), Arc::default(), config);
    serve(Router::new().nest_service("/mcp", service));
}
