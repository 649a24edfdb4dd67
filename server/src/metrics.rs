//! What Prometheus is told. Labels are closed enums and names from the policy, so the number of series is bounded.
//!
//! Counting is an atomic addition on a handle; look-ups by a tool's name happen when a snapshot is built, not on a call.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds: a static tool takes a fraction of a millisecond, a backend up to its timeout.
const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The statuses of the table of refusals, and those of success.
const STATUSES: [(u16, &str); 14] = [
    (200, "200"),
    (202, "202"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (406, "406"),
    (408, "408"),
    (413, "413"),
    (415, "415"),
    (421, "421"),
    (429, "429"),
    (503, "503"),
];

/// An enum whose words are the values of one label.
macro_rules! label {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
                match self { $(Self::$variant => $word,)+ }.encode(encoder)
            }
        }
    };
}

label! {
    /// How a call ended.
    CallOutcome {
        /// It has a result.
        Success = "success",
        /// The backend failed.
        Error = "error",
        /// The tool is not for this client.
        Denied = "denied",
        /// Over a limit.
        Limited = "limited",
        /// The arguments were refused.
        Invalid = "invalid",
        /// The audit log was blocked.
        Blocked = "blocked",
    }
}

label! {
    /// How an authentication ended.
    AuthOutcome {
        Success = "success",
        /// Nobody knows who it was.
        Failed = "failed",
        /// Known, and no client (any more).
        Refused = "refused",
    }
}

label! {
    /// What became of a changed document.
    ReloadOutcome {
        Loaded = "loaded",
        /// The last good one stays in force.
        Refused = "refused",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    tool: Arc<str>,
    outcome: CallOutcome,
}

/// One label.
type Label<V> = [(&'static str, V); 1];

/// All metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    calls: Family<ToolLabels, Counter>,
    durations: Family<Label<Arc<str>>, Histogram, fn() -> Histogram>,
    tools: Mutex<BTreeSet<Arc<str>>>,
    /// In the order of the enums, so that counting looks nothing up.
    authentications: Vec<Counter>,
    reloads: Vec<Counter>,
    /// In the order of the statuses, `other` last.
    responses: Vec<Counter>,
    connections: Gauge,
    audit_blocked: Gauge,
    audit_records_dropped: Counter,
}

/// The handles of one tool, to be kept in a snapshot.
#[derive(Clone)]
pub struct ToolMetrics {
    calls: Vec<Counter>,
    duration: Histogram,
}

/// Values that others keep, read when metrics are read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Live {
    pub connections: usize,
    pub audit_blocked: bool,
    pub audit_records_dropped: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let calls = Family::<ToolLabels, Counter>::default();
        registry.register("tool_calls", "Calls by tool and outcome", calls.clone());
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register(
            "tool_call_duration_seconds",
            "From the request to the answer, of calls that reached their backend",
            durations.clone(),
        );
        let authentications = counters(
            &mut registry,
            ("authentications", "Requests by the outcome of their authentication"),
            AuthOutcome::ALL.iter().map(|outcome| [("outcome", *outcome)]),
        );
        let reloads = counters(
            &mut registry,
            ("reloads", "Changed policies and credentials by what became of them"),
            ReloadOutcome::ALL.iter().map(|outcome| [("outcome", *outcome)]),
        );
        let responses = counters(
            &mut registry,
            ("responses", "Answers by their HTTP status"),
            STATUSES.iter().map(|(_, word)| *word).chain(["other"]).map(|word| [("status", word)]),
        );
        let (connections, audit_blocked, audit_records_dropped) =
            (Gauge::default(), Gauge::default(), Counter::default());
        registry.register("connections", "Open connections", connections.clone());
        registry.register("audit_blocked", "1 while audit records cannot be written", audit_blocked.clone());
        registry.register("audit_records_dropped", "Audit records that were lost", audit_records_dropped.clone());
        Self(Arc::new(Inner {
            registry,
            calls,
            durations,
            tools: Mutex::default(),
            authentications,
            reloads,
            responses,
            connections,
            audit_blocked,
            audit_records_dropped,
        }))
    }
}

/// A family whose series are all there from the start: a counter that appears with its first event hides that event.
fn counters<V>(
    registry: &mut Registry,
    (name, help): (&str, &str),
    labels: impl Iterator<Item = Label<V>>,
) -> Vec<Counter>
where
    V: EncodeLabelValue + Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static,
{
    let family = Family::<Label<V>, Counter>::default();
    registry.register(name, help, family.clone());
    labels.map(|label| family.get_or_create_owned(&label)).collect()
}

impl Metrics {
    /// The handles of a tool of the policy.
    pub fn tool(&self, name: &str) -> ToolMetrics {
        let tool: Arc<str> = name.into();
        self.0.tools.lock().insert(tool.clone());
        let call = |outcome: &CallOutcome| {
            self.0.calls.get_or_create_owned(&ToolLabels { tool: tool.clone(), outcome: *outcome })
        };
        ToolMetrics {
            calls: CallOutcome::ALL.iter().map(call).collect(),
            duration: self.0.durations.get_or_create_owned(&[("tool", tool.clone())]),
        }
    }

    /// Drops the series of tools that the policy no longer has.
    pub fn retain_tools(&self, is_served: impl Fn(&str) -> bool) {
        self.0.tools.lock().retain(|tool| {
            let is_kept = is_served(tool);
            if !is_kept {
                for outcome in CallOutcome::ALL {
                    self.0.calls.remove(&ToolLabels { tool: tool.clone(), outcome: *outcome });
                }
                self.0.durations.remove(&[("tool", tool.clone())]);
            }
            is_kept
        });
    }

    /// Counts an authentication.
    pub fn authenticated(&self, outcome: AuthOutcome) {
        self.0.authentications[outcome as usize].inc();
    }

    /// Counts a reload.
    pub fn reloaded(&self, outcome: ReloadOutcome) {
        self.0.reloads[outcome as usize].inc();
    }

    /// Counts a response of the MCP endpoint by its HTTP status. Statuses outside of [`STATUSES`] count as `other`.
    pub fn responded(&self, status: u16) {
        let known = STATUSES.iter().position(|(known, _)| *known == status);
        self.0.responses[known.unwrap_or(STATUSES.len())].inc();
    }

    /// The text that `/metrics` answers, of type [`CONTENT_TYPE`].
    pub fn render(&self, live: Live) -> String {
        self.0.connections.set(i64::try_from(live.connections).unwrap_or(i64::MAX));
        self.0.audit_blocked.set(live.audit_blocked.into());
        self.0.audit_records_dropped.inner().store(live.audit_records_dropped, Ordering::Relaxed);
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("writing to a string must succeed");
        text
    }
}

impl ToolMetrics {
    /// Counts a call; `duration` is from the request to the answer, and observed for calls that reached the backend.
    pub fn call(&self, outcome: CallOutcome, duration: Duration) {
        self.calls[outcome as usize].inc();
        if matches!(outcome, CallOutcome::Success | CallOutcome::Error) {
            self.duration.observe(duration.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_counted_is_told() {
        let metrics = Metrics::default();
        let tool = metrics.tool("search");
        metrics.tool("gone").call(CallOutcome::Denied, Duration::ZERO);
        tool.call(CallOutcome::Success, Duration::from_millis(3));
        tool.call(CallOutcome::Limited, Duration::from_millis(3));
        // A reload asks for the handles again, and goes on counting.
        metrics.tool("search").call(CallOutcome::Success, Duration::from_secs(20));
        metrics.retain_tools(|tool| tool == "search");
        metrics.authenticated(AuthOutcome::Failed);
        metrics.reloaded(ReloadOutcome::Loaded);
        metrics.responded(200);
        metrics.responded(418);
        let text = metrics.render(Live { connections: 3, audit_blocked: true, audit_records_dropped: 7 });

        // Series of a family come in no order.
        let mut lines: Vec<_> = text.lines().filter(|line| !line.ends_with(" 0")).collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"));
        assert!(text.ends_with("# EOF\n") && !text.contains("gone"));
        for outcome in ["success", "failed", "refused"] {
            assert!(text.contains(&format!("portcullis_authentications_total{{outcome=\"{outcome}\"}}")), "{text}");
        }
    }
}
