//! `/health`, for people, load balancers and the operator: how the server and everything that it depends on is.
//!
//! Looks at backends are cached there, so that asking often costs nothing, and nobody makes this server knock on others.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use futures::future::join_all;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use crate::{
    audit::Audit,
    backend::{Check, HttpClient, Status},
    config::{Snapshot, Store},
    transport::streamable::answer,
};

/// What is asked about.
pub struct Health {
    pub store: Arc<Store>,
    pub http: HttpClient,
    pub audit: Audit,
    pub started: Instant,
}

/// The answer.
#[derive(Serialize)]
struct Report {
    status: Status,
    checks: BTreeMap<String, Check>,
    /// Whole seconds.
    uptime: u64,
}

impl Health {
    /// 200 while calls are served, 503 where they are not.
    pub async fn respond(&self) -> Response<Full<Bytes>> {
        let report = self.report().await;
        let status = match report.status {
            Status::Healthy | Status::Degraded => StatusCode::OK,
            Status::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
        };
        // A report of words and numbers always has a JSON form.
        answer::json(status, serde_json::to_vec(&report).unwrap_or_default().into())
    }

    async fn report(&self) -> Report {
        let mut checks = BTreeMap::new();
        let mut overall = Status::Healthy;
        let snapshot = self.store.current();
        let condition = self.store.condition();
        let policy = match &snapshot {
            None => Status::Unhealthy,
            Some(_) if condition.policy_error || condition.credentials_error => Status::Degraded,
            Some(_) => Status::Healthy,
        };
        let audit = if self.audit.is_blocked() { Status::Degraded } else { Status::Healthy };
        for (name, status) in [("policy", policy), ("audit", audit)] {
            overall = overall.max(status);
            checks.insert(name.to_owned(), Check::at_once(status));
        }
        if let Some(snapshot) = &snapshot {
            for (name, critical, check) in self.backends(snapshot).await {
                overall = overall.max(match check.status {
                    Status::Unhealthy if !critical => Status::Degraded,
                    status => status,
                });
                checks.insert(name, check);
            }
        }
        Report { status: overall, checks, uptime: self.started.elapsed().as_secs() }
    }

    async fn backends(&self, snapshot: &Snapshot) -> Vec<(String, bool, Check)> {
        join_all(snapshot.tools.backends.iter().map(async |entry| {
            let check = match &entry.http {
                Some(backend) => backend.health(&self.http).await,
                None => Check::at_once(Status::Healthy),
            };
            (entry.name.to_string(), entry.critical, check)
        }))
        .await
    }
}
