//! The metrics of a server, for Prometheus.
//!
//! Names, labels and their values are closed vocabularies or names from the policy, so that the number of series is bounded.
//! Counting is an atomic addition on a handle; a tool's handles are looked up when the policy is loaded, not on a call.

mod registry;
mod tools;
mod vocabulary;

pub use registry::{Live, Metrics};
pub use tools::ToolMetrics;
pub use vocabulary::{AuthOutcome, CallOutcome, Holding, Label, Metric, MetricKind, ReloadOutcome, ResponseStatus};
