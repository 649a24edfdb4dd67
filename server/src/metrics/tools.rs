//! The series of the tools: they exist while the policy has the tool.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};

use super::vocabulary::CallOutcome;

/// Seconds: a static tool takes a fraction of a millisecond, a backend up to its timeout.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabels {
    tool: Arc<str>,
    outcome: &'static str,
}

type DurationLabels = [(&'static str, Arc<str>); 1];

/// The series of all tools.
pub(super) struct ToolSeries {
    pub calls: Family<CallLabels, Counter>,
    pub durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    tools: Mutex<BTreeSet<Arc<str>>>,
}

/// The handles of one tool, which a snapshot keeps.
#[derive(Clone)]
pub struct ToolMetrics {
    /// In the order of [`CallOutcome::ALL`], so that counting looks nothing up.
    calls: Vec<Counter>,
    duration: Histogram,
}

impl Default for ToolSeries {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self { calls: Family::default(), durations: Family::new_with_constructor(histogram), tools: Mutex::default() }
    }
}

impl ToolSeries {
    pub fn handles(&self, name: &str) -> ToolMetrics {
        let tool: Arc<str> = name.into();
        self.tools.lock().insert(tool.clone());
        let labels = |outcome: &CallOutcome| CallLabels { tool: tool.clone(), outcome: outcome.as_str() };
        ToolMetrics {
            calls: CallOutcome::ALL.iter().map(|outcome| self.calls.get_or_create_owned(&labels(outcome))).collect(),
            duration: self.durations.get_or_create_owned(&[("tool", tool.clone())]),
        }
    }

    pub fn retain(&self, is_served: impl Fn(&str) -> bool) {
        self.tools.lock().retain(|tool| {
            let is_kept = is_served(tool);
            if !is_kept {
                for outcome in CallOutcome::ALL {
                    self.calls.remove(&CallLabels { tool: tool.clone(), outcome: outcome.as_str() });
                }
                self.durations.remove(&[("tool", tool.clone())]);
            }
            is_kept
        });
    }
}

impl ToolMetrics {
    /// Counts a call. `duration` is the time since the request; it is observed for the outcomes `success` and `error` only.
    pub fn call(&self, outcome: CallOutcome, duration: Duration) {
        self.calls[outcome as usize].inc();
        if matches!(outcome, CallOutcome::Success | CallOutcome::Error) {
            self.duration.observe(duration.as_secs_f64());
        }
    }
}
