//! The harness: what the tests share. It starts clusters, servers, backends and other programs, speaks HTTP byte for byte,
//! reads the logs of what it started, and waits for conditions. Everything that it starts ends with its value, also when a
//! test fails. The tests themselves are in `tests/` and `e2e/`, the recipe of the clusters in `cluster/`.

pub mod backend;
mod binary;
mod cluster;
mod error;
pub mod http;
pub mod network;
mod process;
pub mod server;
mod tool;
mod wait;

pub use binary::binary;
pub use cluster::{ControlPlane, Mark, Right, Rights, TestCluster, Write, condition, repository};
pub use error::Error;
pub use process::{Output, Process, Usage};
pub use tool::tool;
pub use wait::{PATIENCE, PROMPTLY, eventually, expect_eq, until};
