//! One query of a pod's admin port: which revisions it serves.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;

use super::pod::Revisions;
use crate::mapping::Mapping;

/// The longest that a pod may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4096;

/// The answer of `GET /policy`.
#[derive(Deserialize, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Answer {
    policy_revision: Option<String>,
    credentials_revision: Option<String>,
    pod_uid: Option<String>,
}

/// What the pod of this UID serves; `None` if nothing answers at the address, or another pod does, since addresses are reused.
pub async fn query(address: &str, port: u16, uid: &str) -> Option<Revisions> {
    let answer = tokio::time::timeout(TIMEOUT, get(address, port)).await.ok()??;
    (answer.pod_uid.as_deref() == Some(uid))
        .then_some(Revisions { policy: answer.policy_revision, credentials: answer.credentials_revision })
}

/// On a connection of its own: one that was kept open may lead to a process that has ended.
async fn get(address: &str, port: u16) -> Option<Answer> {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let url = format!("http://{host}:{port}/policy").parse().ok()?;
    let mut client = Client::builder(TokioExecutor::new());
    let client: Client<HttpConnector, String> = client.pool_max_idle_per_host(0).build(HttpConnector::new());
    let response = client.get(url).await.ok()?;
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.ok()?;
    decoded(&body.to_bytes())
}

fn decoded(body: &[u8]) -> Option<Answer> {
    serde_json::from_slice(body).ok().map(|Mapping(answer)| answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_mapping() {
        let expected = Answer {
            policy_revision: Some("p".into()),
            credentials_revision: Some("c".into()),
            pod_uid: Some("u".into()),
        };
        let answer = br#"{"policyRevision": "p", "credentialsRevision": "c", "podUid": "u", "more": 1}"#;
        assert_eq!(decoded(answer), Some(expected));
        for other in [r#"["p", "c", "u"]"#, "[]", "null", "\"u\"", ""] {
            assert_eq!(decoded(other.as_bytes()), None, "{other}");
        }
    }
}
