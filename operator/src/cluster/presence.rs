//! Whether the cluster has a kind that it may lack, such as that of a CustomResourceDefinition that is installed later.

use std::time::Duration;

use kube::core::ApiResource;
use tokio::sync::watch;
use tracing::{debug, info};

use super::client::{CALL, Cluster};
use crate::supervise::Progress;

/// How often the operator checks whether the cluster has a kind.
pub const CHECK_EVERY: Duration = Duration::from_secs(30);

/// Whether the cluster has a kind, as far as it is known. Nobody waits for it but the watches of the kind.
#[derive(Debug)]
pub struct Presence(watch::Sender<bool>);

impl Default for Presence {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Presence {
    pub fn is_served(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the cluster has the kind.
    pub async fn served(&self) {
        // The sender lives as long as this value, so the channel cannot close.
        let _ = self.0.subscribe().wait_for(|is_served| *is_served).await;
    }

    /// Keeps this up to date for ever, with a pause of `every` between checks; calls `appeared` each time that the cluster
    /// comes to have the kind.
    pub async fn follow(
        &self,
        cluster: &Cluster,
        resource: &ApiResource,
        every: Duration,
        progress: &Progress,
        appeared: impl Fn(),
    ) {
        loop {
            progress.within((CALL + every) * 2);
            match cluster.serves(resource).await {
                Ok(is_served) => {
                    if self.0.send_replace(is_served) != is_served {
                        info!(kind = resource.kind, isServed = is_served, "the cluster's kinds changed");
                        if is_served {
                            appeared();
                        }
                    }
                }
                Err(error) => debug!(%error, "the cluster's kinds are unknown; what was known stays"),
            }
            tokio::time::sleep(every).await;
        }
    }
}
