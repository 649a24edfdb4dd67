//! `/health` on both ports.

use http::{Method, Response, StatusCode};

use super::{error::HttpRefusal, response};
use crate::{
    health::{Health, Status},
    net::ResponseBody,
};

pub const PATH: &str = "/health";

/// Pages that are read: GET, and HEAD with it (RFC 9110, section 9.1).
///
/// # Errors
/// Returns an error for every other method.
pub fn check_method(method: &Method) -> Result<(), HttpRefusal> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if is_read { Ok(()) } else { Err(HttpRefusal::MethodNotAllowed { allow: "GET, HEAD" }) }
}

/// 200 while calls are served, 503 while they are not.
pub async fn respond(health: &Health) -> Response<ResponseBody> {
    let report = health.report().await;
    let status = match report.status {
        Status::Healthy | Status::Degraded => StatusCode::OK,
        Status::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    };
    // A report of words and numbers always has a JSON form.
    response::json(status, serde_json::to_vec(&report).unwrap_or_default().into())
}
