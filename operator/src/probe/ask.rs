//! One question to a pod's admin port: which revisions do you serve?

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;

use super::Revisions;

/// The longest that a pod may take to answer.
const ANSWER: Duration = Duration::from_secs(1);
/// The most that it may say.
const LONGEST: usize = 4096;

/// The answer of `GET /policy`.
#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub policy_revision: Option<String>,
    pub credentials_revision: Option<String>,
    pub pod_uid: Option<String>,
}

/// Asks the pod at this address; none where it is not the pod of this UID, or does not answer: addresses get reused.
pub async fn ask(address: &str, port: u16, uid: &str) -> Option<Revisions> {
    let answer = tokio::time::timeout(ANSWER, fetch(address, port)).await.ok()??;
    (answer.pod_uid.as_deref() == Some(uid))
        .then_some(Revisions { policy: answer.policy_revision, credentials: answer.credentials_revision })
}

/// On a connection of its own: one that was kept open may lead to a process that is no more.
async fn fetch(address: &str, port: u16) -> Option<Answer> {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let url = format!("http://{host}:{port}/policy").parse().ok()?;
    let mut client = Client::builder(TokioExecutor::new());
    let client: Client<HttpConnector, String> = client.pool_max_idle_per_host(0).build(HttpConnector::new());
    let response = client.get(url).await.ok()?;
    let body = Limited::new(response.into_body(), LONGEST).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}
