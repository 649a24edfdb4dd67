//! The health check of a REST service: a request to its health path, or else a connection that is opened and closed.

use bytes::Bytes;
use http::{Request, StatusCode};
use portcullis_crds::check::HttpTarget;

use super::client::HttpClient;
use crate::backend::sent::Sent;

/// Whether calls can be made. A status below 500 is an answer of a service that runs. `None` if this server has no connection to
/// spare, which shows nothing about the service.
pub async fn check(client: HttpClient, target: HttpTarget) -> Option<bool> {
    if !client.has_place() {
        return None;
    }
    let Some(health) = target.health else { return Some(client.connect(target.origin).await.is_ok()) };
    let Ok(request) = Request::get(health).body(Sent::default().body(Bytes::new())) else { return Some(false) };
    let response = client.send(request).await;
    Some(response.is_ok_and(|response| response.status() < StatusCode::INTERNAL_SERVER_ERROR))
}
