//! All metrics of this process, and the page that shows them.

use std::{
    fmt::Debug,
    sync::{Arc, atomic::Ordering},
};

use prometheus_client::{
    encoding::{EncodeMetric, text::encode},
    metrics::{TypedMetric, counter::Counter, family::Family, gauge::Gauge},
    registry::{Metric as Encodable, Registry},
};

use super::{
    tools::{ToolMetrics, ToolSeries},
    vocabulary::{AuthOutcome, Holding, Metric, PREFIX, ReloadOutcome, ResponseStatus},
};

/// All metrics of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    tools: ToolSeries,
    /// Indexed by the values of their enums, so that counting needs no look-up of labels.
    authentications: Vec<Counter>,
    reloads: Vec<Counter>,
    responses: Vec<Counter>,
    parts_refused: Gauge,
    connections: Gauge,
    backend_connections: Gauge,
    held_bytes: Vec<Gauge>,
    audit_blocked: Gauge,
    audit_records_dropped: Counter,
}

/// Values that other parts of the server keep, read when the metrics are read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Live {
    pub parts_refused: usize,
    pub connections: usize,
    pub backend_connections: usize,
    /// Indexed by [`Holding`].
    pub held_bytes: [usize; Holding::ALL.len()],
    pub audit_blocked: bool,
    pub audit_records_dropped: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let tools = ToolSeries::default();
        register(&mut registry, Metric::ToolCalls, &tools.calls);
        register(&mut registry, Metric::ToolCallDuration, &tools.durations);
        let authentications = series(&mut registry, Metric::Authentications, AuthOutcome::words());
        let reloads = series(&mut registry, Metric::Reloads, ReloadOutcome::words());
        let responses = series(&mut registry, Metric::Responses, ResponseStatus::words());
        let (parts_refused, connections, backend_connections, audit_blocked, audit_records_dropped) =
            Default::default();
        register(&mut registry, Metric::PartsRefused, &parts_refused);
        register(&mut registry, Metric::Connections, &connections);
        register(&mut registry, Metric::BackendConnections, &backend_connections);
        let held_bytes = series(&mut registry, Metric::HeldBytes, Holding::words());
        register(&mut registry, Metric::AuditBlocked, &audit_blocked);
        register(&mut registry, Metric::AuditRecordsDropped, &audit_records_dropped);
        Self(Arc::new(Inner {
            registry,
            tools,
            authentications,
            reloads,
            responses,
            parts_refused,
            connections,
            backend_connections,
            held_bytes,
            audit_blocked,
            audit_records_dropped,
        }))
    }
}

fn register(registry: &mut Registry, metric: Metric, series: &(impl Encodable + Clone)) {
    // The registry appends the full stop.
    registry.register(metric.as_str(), metric.sentence().trim_end_matches('.'), series.clone());
}

/// A metric with one label. All its series exist from the start, because `rate()` does not see the event with which a series appears.
fn series<M>(registry: &mut Registry, metric: Metric, words: Vec<(&'static str, &'static str)>) -> Vec<M>
where
    M: EncodeMetric + TypedMetric + Clone + Default + Debug + Send + Sync + 'static,
{
    let family = Family::<[(&str, &str); 1], M>::default();
    register(registry, metric, &family);
    let label = metric.labels().first().map_or("", |label| label.name);
    words.into_iter().map(|(word, _)| family.get_or_create_owned(&[(label, word)])).collect()
}

impl Metrics {
    /// The handles of a tool of the policy.
    pub fn tool(&self, name: &str) -> ToolMetrics {
        self.0.tools.handles(name)
    }

    /// Drops the series of tools that the policy no longer has.
    pub fn retain_tools(&self, is_served: impl Fn(&str) -> bool) {
        self.0.tools.retain(is_served);
    }

    /// Counts an authentication.
    pub fn authenticated(&self, outcome: AuthOutcome) {
        self.0.authentications[outcome as usize].inc();
    }

    /// Counts a reload.
    pub fn reloaded(&self, outcome: ReloadOutcome) {
        self.0.reloads[outcome as usize].inc();
    }

    /// Counts a response of the MCP endpoint by its HTTP status.
    pub fn responded(&self, status: u16) {
        self.0.responses[ResponseStatus::of(status) as usize].inc();
    }

    /// The page at `/metrics`, in OpenMetrics 1.0.
    pub fn render(&self, live: Live) -> String {
        let set = |gauge: &Gauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.0.parts_refused, live.parts_refused);
        set(&self.0.connections, live.connections);
        set(&self.0.backend_connections, live.backend_connections);
        self.0.held_bytes.iter().zip(live.held_bytes).for_each(|(gauge, bytes)| {
            set(gauge, bytes);
        });
        self.0.audit_blocked.set(live.audit_blocked.into());
        self.0.audit_records_dropped.inner().store(live.audit_records_dropped, Ordering::Relaxed);
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("writing to a string must succeed");
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::CallOutcome;

    #[test]
    fn everything_that_is_counted_is_shown() {
        let metrics = Metrics::default();
        let tool = metrics.tool("search");
        metrics.tool("gone").call(CallOutcome::Denied, Duration::ZERO);
        tool.call(CallOutcome::Success, Duration::from_millis(3));
        tool.call(CallOutcome::Limited, Duration::from_millis(3));
        // A reload requests the handles again, and the counters continue.
        metrics.tool("search").call(CallOutcome::Success, Duration::from_secs(20));
        metrics.retain_tools(|tool| tool == "search");
        metrics.authenticated(AuthOutcome::Failed);
        metrics.reloaded(ReloadOutcome::Loaded);
        metrics.responded(200);
        metrics.responded(418);
        let text = metrics.render(Live {
            parts_refused: 2,
            connections: 3,
            backend_connections: 2,
            held_bytes: [4, 5, 6],
            audit_blocked: true,
            audit_records_dropped: 7,
        });

        // The series of a family have no order.
        let mut lines: Vec<_> = text.lines().filter(|line| !line.ends_with(" 0")).collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"));
        assert!(text.ends_with("# EOF\n") && !text.contains("gone"));
        for outcome in ["success", "failed", "refused"] {
            assert!(text.contains(&format!("portcullis_authentications_total{{outcome=\"{outcome}\"}}")), "{text}");
        }
    }

    #[test]
    fn every_metric_of_the_vocabulary_is_registered() {
        let metrics = Metrics::default();
        metrics.tool("search");
        let text = metrics.render(Live::default());
        for metric in Metric::ALL {
            let kind = format!("# TYPE {PREFIX}_{metric} {}", format!("{:?}", metric.kind()).to_lowercase());
            assert!(text.contains(&kind) && text.contains(&metric.name()), "{kind}");
        }
    }
}
