//! Bytes to requests, and answers to bytes: the two ports and the endpoints behind them.
//!
//! Only this module and `net` use the types of an HTTP server. What a caller may do is left to the guard, and what a message means
//! is left to `mcp`.

mod admin;
mod detached;
mod endpoints;
mod error;
mod events;
mod health;
mod main_port;
mod request_headers;
mod response;
mod streamable;

pub use admin::AdminPort;
pub use detached::DetachedCalls;
pub use endpoints::Endpoints;
pub use main_port::MainPort;
