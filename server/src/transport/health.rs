//! `/health` on both ports.

use http::{Response, StatusCode};

use super::response;
use crate::{
    health::{Health, Status},
    net::ResponseBody,
};

pub const PATH: &str = "/health";

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
