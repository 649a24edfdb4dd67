//! All metrics of this process, and the page that shows them.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric as Encodable, Registry},
};

use super::vocabulary::{ApiResource, ApiVerb, Code, Kind, Lane, Metric, PREFIX, ReconcileResult, Task, WatchRestart};

/// Seconds: most reconciles take milliseconds, and none more than a minute.
const RECONCILE: [f64; 13] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];
/// Seconds: most pods confirm within a second, and one lags after two minutes.
const CONFIRMED: [f64; 12] = [0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0];

/// One label, or two or three.
type Labels<const N: usize> = [(&'static str, &'static str); N];
type Seconds = Gauge<f64, AtomicU64>;

/// All metrics of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    reconciles: Family<Labels<2>, Counter>,
    durations: Family<Labels<1>, Histogram, fn() -> Histogram>,
    queue_depth: Family<Labels<1>, Gauge>,
    queue_oldest: Family<Labels<1>, Seconds>,
    queue_running: Family<Labels<1>, Gauge>,
    confirmed: Histogram,
    api_requests: Family<Labels<3>, Counter>,
    watch_restarts: Family<Labels<2>, Counter>,
    undecodable: Family<Labels<1>, Gauge>,
    skipped: Family<Labels<1>, Counter>,
    task_restarts: Family<Labels<1>, Counter>,
    without_lease: Gauge,
}

/// One lane of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaneState {
    /// How many keys are due and wait.
    pub depth: usize,
    /// For how long the first of them has been due.
    pub oldest: Duration,
    pub running: usize,
}

/// Values that other parts of the operator keep, read when the metrics are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    pub lanes: Vec<(Lane, LaneState)>,
    /// How many McpServers and McpClients cannot be decoded.
    pub undecodable_servers: usize,
    pub undecodable_clients: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(RECONCILE);
        let mut inner = Inner {
            registry: Registry::with_prefix(PREFIX),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(histogram),
            queue_depth: Family::default(),
            queue_oldest: Family::default(),
            queue_running: Family::default(),
            confirmed: Histogram::new(CONFIRMED),
            api_requests: Family::default(),
            watch_restarts: Family::default(),
            undecodable: Family::default(),
            skipped: Family::default(),
            task_restarts: Family::default(),
            without_lease: Gauge::default(),
        };
        inner.register();
        inner.create();
        Self(Arc::new(inner))
    }
}

fn register(registry: &mut Registry, metric: Metric, series: &(impl Encodable + Clone)) {
    // The registry appends the full stop.
    registry.register(metric.as_str(), metric.sentence().trim_end_matches('.'), series.clone());
}

impl Inner {
    fn register(&mut self) {
        let registry = &mut self.registry;
        register(registry, Metric::Reconciles, &self.reconciles);
        register(registry, Metric::ReconcileDuration, &self.durations);
        register(registry, Metric::QueueDepth, &self.queue_depth);
        register(registry, Metric::QueueOldest, &self.queue_oldest);
        register(registry, Metric::QueueRunning, &self.queue_running);
        register(registry, Metric::PublicationConfirmed, &self.confirmed);
        register(registry, Metric::ApiRequests, &self.api_requests);
        register(registry, Metric::WatchRestarts, &self.watch_restarts);
        register(registry, Metric::UndecodableObjects, &self.undecodable);
        register(registry, Metric::SkippedObjects, &self.skipped);
        register(registry, Metric::TaskRestarts, &self.task_restarts);
        register(registry, Metric::WithoutLease, &self.without_lease);
    }

    /// `rate()` does not see the event with which a series appears. Those of requests are too many to be there from the start.
    fn create(&self) {
        for kind in Kind::ALL {
            let _ = self.durations.get_or_create(&[("kind", kind.as_str())]);
            for result in ReconcileResult::ALL {
                let _ = self.reconciles.get_or_create(&[("kind", kind.as_str()), ("result", result.as_str())]);
            }
        }
        for task in Task::ALL {
            let _ = self.task_restarts.get_or_create(&[("task", task.as_str())]);
        }
    }
}

impl Metrics {
    pub fn reconciled(&self, kind: Kind, result: ReconcileResult, took: Duration) {
        self.0.reconciles.get_or_create(&[("kind", kind.as_str()), ("result", result.as_str())]).inc();
        self.0.durations.get_or_create(&[("kind", kind.as_str())]).observe(took.as_secs_f64());
    }

    /// Every pod that takes calls has confirmed a publication.
    pub fn confirmed(&self, after: Duration) {
        self.0.confirmed.observe(after.as_secs_f64());
    }

    pub fn requested(&self, verb: ApiVerb, resource: ApiResource, code: Code) {
        let labels = [("verb", verb.as_str()), ("resource", resource.as_str()), ("code", code.as_str())];
        self.0.api_requests.get_or_create(&labels).inc();
    }

    pub fn watch_restarted(&self, resource: ApiResource, why: WatchRestart) {
        self.0.watch_restarts.get_or_create(&[("resource", resource.as_str()), ("reason", why.as_str())]).inc();
    }

    pub fn skipped(&self, resource: ApiResource) {
        self.0.skipped.get_or_create(&[("resource", resource.as_str())]).inc();
    }

    pub fn restarted(&self, task: Task) {
        self.0.task_restarts.get_or_create(&[("task", task.as_str())]).inc();
    }

    /// The operator writes without its Lease, or no longer does.
    pub fn without_lease(&self, is_without: bool) {
        self.0.without_lease.set(is_without.into());
    }

    /// How often a task was started again, for tests.
    pub fn restarts(&self, task: Task) -> u64 {
        self.0.task_restarts.get_or_create(&[("task", task.as_str())]).get()
    }

    /// The page at `/metrics`, in OpenMetrics 1.0.
    pub fn render(&self, live: &Live) -> String {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (lane, state) in &live.lanes {
            let label = [("lane", lane.as_str())];
            self.0.queue_depth.get_or_create(&label).set(count(state.depth));
            self.0.queue_oldest.get_or_create(&label).set(state.oldest.as_secs_f64());
            self.0.queue_running.get_or_create(&label).set(count(state.running));
        }
        let undecodable = [(Kind::McpServer, live.undecodable_servers), (Kind::McpClient, live.undecodable_clients)];
        for (kind, number) in undecodable {
            self.0.undecodable.get_or_create(&[("kind", kind.as_str())]).set(count(number));
        }
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("writing to a string must succeed");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_counted_is_shown() {
        let metrics = Metrics::default();
        metrics.reconciled(Kind::McpServer, ReconcileResult::Success, Duration::from_millis(30));
        metrics.confirmed(Duration::from_millis(700));
        metrics.requested(ApiVerb::Patch, ApiResource::McpServers, Code::Success);
        metrics.watch_restarted(ApiResource::Pods, WatchRestart::Broken);
        metrics.skipped(ApiResource::Pods);
        metrics.restarted(Task::Follower);
        metrics.without_lease(true);
        let state = LaneState { depth: 3, oldest: Duration::from_millis(1500), running: 2 };
        let lanes = vec![(Lane::Removals, state), (Lane::Others, LaneState::default())];
        let text = metrics.render(&Live { lanes, undecodable_servers: 1, undecodable_clients: 0 });

        // The series of a family have no order.
        let mut lines: Vec<_> =
            text.lines().filter(|line| !line.ends_with(" 0") && !line.contains("_bucket")).collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"));
        assert!(text.ends_with("# EOF\n"), "{text}");
        for metric in Metric::ALL {
            let kind = format!("# TYPE {PREFIX}_{metric} {}", format!("{:?}", metric.kind()).to_lowercase());
            assert!(text.contains(&kind), "{kind}");
        }
    }
}
