//! What the endpoints of MCP share.

use std::sync::Arc;

use crate::{
    config::Store,
    mcp::Mcp,
    metrics::Metrics,
    net::{BodyBounds, BodyBudget},
};

/// What every endpoint of MCP needs to serve a request.
pub struct Endpoints {
    pub store: Arc<Store>,
    pub mcp: Mcp,
    pub metrics: Metrics,
    pub body: BodyBounds,
    pub bodies: BodyBudget,
}
