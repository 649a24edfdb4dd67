//! What `run` counts about itself, for Prometheus. The values of all labels are words of [`vocabulary`], so that the number of series
//! is bounded whatever the cluster contains. The page is served by [`crate::endpoint`].

#[cfg(test)]
mod reference;
mod registry;
pub mod vocabulary;

pub use registry::{LaneState, Live, Metrics};
pub use vocabulary::{ApiResource, ApiVerb, Code, Kind, Lane, Metric, MetricKind, ReconcileResult, Task, WatchRestart};
