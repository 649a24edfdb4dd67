//! A node without any address of IPv4: the server listens as in a pod, and calls backends by address and by name.

use std::net::SocketAddr;

use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::http::{Request, send};
use portcullis_tests::network::{self, HOSTS};
use portcullis_tests::server::{TestServer, call};
use serde_json::{Value, json};

use crate::fixtures::*;

/// A backend with its tool, which calls it at this URL.
fn add(document: &mut Value, name: &str, url: &str) {
    document["spec"]["backends"].as_array_mut().unwrap().push(json!({"name": name, "http": {"url": url}}));
    document["spec"]["tools"].as_array_mut().unwrap().push(json!({
        "name": name, "description": "Looks.", "backend": name, "effect": "Read",
        "http": {"method": "GET", "path": "/"}, "inputSchema": {"type": "object"},
    }));
    client_of(document, "agent")["tools"].as_array_mut().unwrap().push(name.into());
}

#[tokio::test]
async fn a_server_serves_and_calls_backends_where_there_is_no_ipv4() {
    if !network::is_ipv6_only("ipv6::a_server_serves_and_calls_backends_where_there_is_no_ipv4").unwrap() {
        return;
    }
    let ok = |_: &_| Reply::Json(200, json!({"ok": true}));
    let by_address = Backend::start_at(&format!("[{}]:0", HOSTS[1]), ok).await.unwrap();
    let by_name = Backend::start_at(&format!("[{}]:0", HOSTS[3]), ok).await.unwrap();
    let port = by_name.authority().rsplit_once(':').unwrap().1.to_owned();
    let mut document = document(NOWHERE);
    document["server"]["hosts"] = json!(["crm.sales.svc", format!("[{}]", HOSTS[0])]);
    add(&mut document, "by-address", &by_address.url());
    add(&mut document, "by-name", &format!("http://{}:{port}", network::NAME));
    add(&mut document, "loopback", "http://[::1]:9");
    // As the pods of a Deployment listen; loopback addresses are no backends there.
    let arguments = ["--listen", "[::]:0", "--admin", "[::]:0"];
    let server = TestServer::start_with(&parsed(&document), &keys(), &arguments).await.unwrap();

    let at = |port: u16| SocketAddr::new(HOSTS[0].parse().unwrap(), port);
    let mut found = Vec::new();
    let hosts = [format!("[{}]:3000", HOSTS[0]), "[FD77:0::1]".into(), "[::1]:3000".into(), "[fd77::2]:3000".into()];
    for host in &hosts {
        let request = call(AGENT, "by-address", json!({})).replacing("Host", host);
        found.push(json!(send(at(server.listen.port()), &request).await.unwrap().status));
    }
    for tool in ["by-name", "loopback"] {
        let answer = server.call(AGENT, tool, json!({})).await.unwrap();
        found.push(answer.json()["result"]["isError"].clone());
    }
    // As kubelet asks, by the address of the pod.
    let probe = Request::get("/readyz").replacing("Host", &format!("[{}]:9090", HOSTS[0]));
    found.push(json!(send(at(server.admin.port()), &probe).await.unwrap().status));
    let expected = json!([200, 200, 200, 421, false, true, 200]);
    assert_eq!(Value::from(found), expected);
    let asked = |backend: &Backend| {
        let received = backend.received().into_iter();
        received.map(|it| it.header("host").unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(asked(&by_address), vec![by_address.authority(); 3]);
    assert_eq!(asked(&by_name), [format!("{}:{port}", network::NAME)]);
}
