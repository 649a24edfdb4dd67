//! What the endpoints of MCP share.

use std::sync::Arc;

use crate::{
    config::Store,
    mcp::Mcp,
    metrics::Metrics,
    net::{BodyBounds, Budget, StreamBounds},
};

/// What every endpoint of MCP needs to serve a request.
pub struct Endpoints {
    pub store: Arc<Store>,
    pub mcp: Mcp,
    pub metrics: Metrics,
    pub body: BodyBounds,
    pub bodies: Budget,
    pub stream: StreamBounds,
    pub streams: Budget,
}

impl Endpoints {
    /// With the default bounds.
    pub fn new(store: Arc<Store>, mcp: Mcp, metrics: Metrics) -> Self {
        let (body, stream) = (BodyBounds::default(), StreamBounds::default());
        Self { store, mcp, metrics, body, bodies: body.budget(), stream, streams: stream.budget() }
    }
}
