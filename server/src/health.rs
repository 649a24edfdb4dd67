//! The health of the server and of everything that it depends on: for people, load balancers and the operator.
//!
//! Each backend caches its own check, so that frequent requests cost nothing and cannot be used to flood a backend.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures::future::join_all;
use serde::Serialize;

use crate::{
    audit::Audit,
    backend::{Check, HttpClient, Status},
    config::{Snapshot, Store},
};

/// What is checked.
pub struct Health {
    pub store: Arc<Store>,
    pub http: HttpClient,
    pub audit: Audit,
    pub started: Instant,
}

/// What was found.
#[derive(Serialize)]
pub struct Report {
    /// The worst of the checks; a backend that is not critical only degrades it.
    pub status: Status,
    pub checks: BTreeMap<String, Check>,
    /// Whole seconds since the start.
    pub uptime: u64,
}

impl Health {
    pub async fn report(&self) -> Report {
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
