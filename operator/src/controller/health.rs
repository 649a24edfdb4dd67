//! What `run` says about itself: whether a restart would help, whether it can do its work now, and its metrics.

use std::{
    sync::{Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

use super::{RECONCILE, context::Context};
use crate::{
    endpoint::{Content, Page, Pages},
    metrics::{Live, Task},
    sync::lock,
};

/// What is due and within the bounds is given out at once; if it was not for this long, the driver is stuck.
const OVERDUE: Duration = Duration::from_secs(30);
/// A reconcile that takes this long ignores its time, so that it holds a thread or a lock.
const TOO_LONG: Duration = Duration::from_secs(2 * RECONCILE.as_secs());
/// For how long a page of metrics is used, so that whoever asks often costs little.
const FRESH: Duration = Duration::from_secs(1);

/// The last page of metrics.
#[derive(Debug, Default)]
pub struct LastPage(Mutex<Option<(Instant, String)>>);

impl Context {
    /// What only a restart mends. That the API server does not answer is no such thing.
    fn stuck(&self) -> Vec<String> {
        let mut problems = self.supervisor.stuck();
        let (overdue, longest) = (self.queue.overdue(), self.queue.longest_work());
        if self.is_driven.load(Relaxed) && overdue >= OVERDUE {
            problems.push(format!("{}: an object has been due for {} s", Task::Driver, overdue.as_secs()));
        }
        if longest >= TOO_LONG {
            problems.push(format!("{}: one has not ended for {} s", Task::Reconcile, longest.as_secs()));
        }
        problems
    }

    fn metrics_page(&self) -> Page {
        let mut last = lock(&self.last_page.0);
        let text = match &*last {
            Some((at, text)) if at.elapsed() < FRESH => text.clone(),
            _ => {
                let servers = self.servers.all().iter().filter(|server| server.object.spec.is_err()).count();
                let clients = self.clients.all().iter().filter(|client| client.object.spec.is_err()).count();
                let live =
                    Live { lanes: self.queue.lanes(), undecodable_servers: servers, undecodable_clients: clients };
                let text = self.supervisor.metrics().render(&live);
                *last = Some((Instant::now(), text.clone()));
                text
            }
        };
        Page { status: StatusCode::OK, content: Content::Metrics, text }
    }
}

impl Pages for Context {
    fn page(&self, path: &str) -> Option<Page> {
        match path {
            "/livez" => Some(Page::of_problems(&self.stuck())),
            "/readyz" => Some(Page::of_problems_and_notes(&self.supervisor.unready(), &self.supervisor.notes())),
            "/metrics" => Some(self.metrics_page()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_crds::NamespacedName;
    use serde_json::json;

    use super::*;
    use crate::{
        build::{KINDS, Settings},
        cluster::{
            Cluster,
            fence::Fence,
            received::ReceivedObject,
            scope::Scopes,
            testing::{Answer, FakeApi, Request, in_process, list, refusal},
        },
        controller::{context::ReconcileKey, queue::Lane, tasks::Tasks},
        lease::{Holder, Lease, Term},
    };

    async fn context() -> Arc<Context> {
        let api = FakeApi::in_turn(Vec::new()).await;
        let settings = Settings::of_tests();
        Context::new(Cluster::new(api.client(), Fence::open()), settings, KINDS, Scopes::all())
    }

    fn key(name: &str) -> ReconcileKey {
        ReconcileKey::Server(NamespacedName { namespace: "sales".into(), name: name.into() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_driver_that_gives_nothing_out_and_a_reconcile_that_ignores_its_time_are_not_alive() {
        let context = context().await;
        let livez = || context.page("/livez").unwrap().text;
        context.queue.add_at(key("crm"), Instant::now(), Lane::Removals);
        tokio::time::advance(OVERDUE).await;
        assert_eq!(livez(), "ok\n", "it waits until everything was listed");
        context.is_driven.store(true, Relaxed);
        assert_eq!(livez(), "driver: an object has been due for 30 s\n");
        let work = context.queue.next().await;
        tokio::time::advance(TOO_LONG - OVERDUE).await;
        assert_eq!(livez(), "ok\n");
        tokio::time::advance(OVERDUE).await;
        assert_eq!(livez(), "reconcile: one has not ended for 120 s\n");
        drop(work);
        assert_eq!(livez(), "ok\n");
    }

    #[tokio::test]
    async fn what_is_not_ready_is_said_line_by_line_and_a_restart_does_not_help_while_the_api_server_is_away() {
        let context = context().await;
        let mut tasks = Tasks::default();
        context.watch(&mut tasks);
        let page = context.page("/readyz").unwrap();
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
        let lines: Vec<_> = page.text.lines().map(|line| line.split(", for").next().unwrap_or_default()).collect();
        assert_eq!(lines[..2], ["watch mcpservers: not listed yet", "watch mcpclients: not listed yet"]);
        assert_eq!(context.page("/livez").unwrap(), Page::of_problems(&[]));
        assert_eq!(context.page("/"), None);
    }

    /// However the API server is away: it refuses, answers nothing, or what is not JSON of the API.
    #[tokio::test(start_paused = true)]
    async fn an_operator_whose_api_server_is_away_is_alive_and_not_ready() {
        let is_list = |request: &Request| request.path.contains("mcpservers") && !request.is_watch();
        let cases: [fn(&Request) -> Answer; 5] = [
            |_| Some(refusal(503)),
            |_| {
                let (code, mut status) = refusal(403);
                status["message"] = json!("a word of the API server");
                Some((code, status))
            },
            |_| None,
            |_| Some((200, json!("no list"))),
            // Everything is listed, and no watch is ever answered.
            |request| (!request.is_watch()).then(|| list("5", &[])),
        ];
        for (number, answer) in cases.into_iter().enumerate() {
            let asked = Arc::new(Mutex::new(0));
            let count = Arc::clone(&asked);
            let client = in_process(move |request| {
                *lock(&count) += u32::from(is_list(request));
                answer(request)
            });
            let cluster = Cluster::new(client, Fence::open());
            let settings = Settings::of_tests();
            let context = Context::new(cluster.clone(), settings, KINDS, Scopes::all());
            let lease = Lease::new(cluster, None, Holder::this_process(false), Term::default(), &context.supervisor);
            let mut tasks = Tasks::default();
            let lease = Arc::new(lease);
            tasks.keep(&context.supervisor, Task::Lease, move |_| Arc::clone(&lease).keep());
            context.watch(&mut tasks);
            crate::controller::drive(&context, &mut tasks);
            for second in 1..1200 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let page = context.page("/livez").unwrap();
                assert_eq!(page, Page::of_problems(&[]), "case {number} after {second} s");
                let page = context.page("/readyz").unwrap();
                assert_ne!(page.status, StatusCode::OK, "case {number} after {second} s");
                assert!(!page.text.contains("a word of the API server"), "{}", page.text);
            }
            assert!(*lock(&asked) >= 8, "case {number}: it goes on trying");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_metrics_show_the_lanes_and_what_cannot_be_decoded_and_are_made_once_a_second() {
        let context = context().await;
        let server = |name: &str| {
            let server = json!({"metadata": {"name": name, "namespace": "sales", "uid": name}, "spec": {"tools": 7}});
            ReceivedObject::parse(&server.to_string()).unwrap()
        };
        let _ = context.servers.event(server("crm").into());
        context.queue.add_at(key("crm"), Instant::now(), Lane::Removals);
        let page = context.page("/metrics").unwrap().text;
        for line in ["undecodable_objects{kind=\"McpServer\"} 1", "queue_depth{lane=\"removals\"} 1"] {
            assert!(page.contains(&format!("portcullis_operator_{line}\n")), "{line}: {page}");
        }
        let _ = context.servers.event(server("erp").into());
        assert_eq!(context.page("/metrics").unwrap().text, page);
        tokio::time::advance(FRESH).await;
        let page = context.page("/metrics").unwrap().text;
        assert!(page.contains("undecodable_objects{kind=\"McpServer\"} 2\n"), "{page}");
    }
}
