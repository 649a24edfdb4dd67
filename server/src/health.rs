//! The health of the server and of everything that it depends on, for people, load balancers and the operator.
//!
//! Each backend caches its check, so that frequent requests cost nothing and cannot be used to flood a backend. How a report is
//! sent is left to the transport.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures::future::join_all;
use serde::Serialize;

pub use crate::backend::{Check, Status};

use crate::{
    audit::Audit,
    config::{RefusedParts, Snapshot, Store},
};

/// What is checked.
pub struct Health {
    pub store: Arc<Store>,
    pub audit: Audit,
    pub started: Instant,
}

/// The results of the checks.
#[derive(Serialize)]
pub struct Report {
    /// The worst of the checks; a backend that is not critical only degrades it.
    pub status: Status,
    pub checks: BTreeMap<String, Check>,
    /// What of the documents is refused, in numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedParts>,
    /// Whole seconds since the start.
    pub uptime: u64,
}

impl Health {
    /// Checks everything.
    pub async fn report(&self) -> Report {
        let mut checks = BTreeMap::new();
        let mut overall = Status::Healthy;
        let snapshot = self.store.current();
        let errors = self.store.errors();
        let policy = match &snapshot {
            None => Status::Unhealthy,
            Some(_) if errors.policy || errors.credentials => Status::Degraded,
            Some(_) => Status::Healthy,
        };
        let audit = if self.audit.is_blocked() { Status::Degraded } else { Status::Healthy };
        for (name, status) in [("policy", policy), ("audit", audit)] {
            overall = overall.max(status);
            checks.insert(name.to_owned(), Check::immediate(status));
        }
        if let Some(snapshot) = &snapshot {
            for (name, is_critical, check) in check_backends(snapshot).await {
                overall = overall.max(match check.status {
                    Status::Unhealthy if !is_critical => Status::Degraded,
                    status => status,
                });
                // A backend may have the name of another check in the policy of another release.
                checks.entry(name).or_insert(check);
            }
        }
        let refused = snapshot.as_ref().map(|snapshot| snapshot.refused).filter(|refused| refused.sum() > 0);
        Report { status: overall, checks, refused, uptime: self.started.elapsed().as_secs() }
    }
}

/// The name of each backend, whether it is critical, and its check.
async fn check_backends(snapshot: &Snapshot) -> Vec<(String, bool, Check)> {
    let checks = snapshot.tools.backends.iter();
    join_all(checks.map(async |(name, backend)| (name.to_string(), backend.is_critical(), backend.health().await)))
        .await
}
