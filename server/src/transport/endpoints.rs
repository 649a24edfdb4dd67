//! What the endpoints of MCP share.

use super::detached::DetachedCalls;
use crate::{
    mcp::Mcp,
    metrics::Metrics,
    net::{BodyBounds, Budget, StreamBounds},
};

/// What every endpoint of MCP needs to serve a request.
pub struct Endpoints {
    pub mcp: Mcp,
    pub metrics: Metrics,
    pub body: BodyBounds,
    pub bodies: Budget,
    pub stream: StreamBounds,
    pub streams: Budget,
    pub detached: DetachedCalls,
}

impl Endpoints {
    /// With the default bounds.
    pub fn new(mcp: Mcp, metrics: Metrics) -> Self {
        let (body, stream) = (BodyBounds::default(), StreamBounds::default());
        let detached = DetachedCalls::default();
        Self { mcp, metrics, body, bodies: body.budget(), stream, streams: stream.budget(), detached }
    }
}
