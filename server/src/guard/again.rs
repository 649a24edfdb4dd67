//! Looking again at a caller that has waited: what it may do is decided by the policy that is in force when it is done.
//!
//! If nothing changed meanwhile, a look is one comparison of pointers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Caller, Guard,
    authenticate::now,
    authorise::{Denied, authorise, still_meets},
};
use crate::{
    config::{Snapshot, Tool},
    identity::{self, Identity},
    metrics::CallOutcome,
    protocol::refusal::Refusal,
};

/// How often a call that waits to be sent looks whether its caller's access has expired.
const EXPIRY_EVERY: Duration = Duration::from_secs(1);

impl Guard {
    /// The snapshot by which a caller that has waited is to be identified again; `None` if its access cannot have ended meanwhile.
    pub fn outdated(&self, caller: Caller<'_>) -> Option<Arc<Snapshot>> {
        let is_current = self.store.is_current(caller.snapshot) && !caller.identity.can_expire();
        if is_current { None } else { self.store.current() }
    }

    /// Identifies a caller that has waited by the snapshot that is in force now.
    ///
    /// # Errors
    /// Returns an error if it is not an active client of this server any more; it was recorded and counted.
    pub fn authenticate_again<'s>(
        &self,
        snapshot: &'s Snapshot,
        earlier: Caller<'_>,
    ) -> Result<Box<(&'s Snapshot, Identity<'s>)>, identity::Refusal<'s>> {
        let identified = snapshot.identify_again(earlier.identity, now());
        identified
            .map(|identity| Box::new((snapshot, identity)))
            .inspect_err(|refusal| self.turn_away(snapshot, refusal, earlier.via))
    }

    /// Whether a caller that has waited may still call the tool.
    pub(super) fn permit_again<'s>(
        &self,
        snapshot: &'s Snapshot,
        earlier: Caller<'_>,
        tool: &Tool,
        began: Instant,
    ) -> Result<Box<(&'s Snapshot, Identity<'s>)>, Refusal> {
        let again = self.authenticate_again(snapshot, earlier).map_err(|refusal| {
            tool.metrics.call(CallOutcome::Denied, began.elapsed());
            match refusal {
                identity::Refusal::Unauthenticated { message, .. } => Refusal::Unauthenticated(message),
                identity::Refusal::ClientRefused { .. } => Refusal::ClientRefused(refusal.message()),
            }
        })?;
        let name = tool.name.as_str();
        match permit(snapshot, &again.1, earlier, tool).err() {
            None => Ok(again),
            Some(denied) => Err(self.deny(earlier.renewed(Some(&again)), name, denied, began)),
        }
    }

    /// Ends once the caller may not make a call any more that waits to be sent.
    pub(super) async fn withdrawn(&self, caller: Caller<'_>, tool: &Tool) {
        let mut can_expire = caller.identity.can_expire();
        loop {
            // Before the look, so that no change is missed.
            let changed = self.store.changed();
            if let Some(snapshot) = self.outdated(caller) {
                match permitted(&snapshot, caller, tool) {
                    Some(identity) => can_expire = identity.can_expire(),
                    None => return,
                }
            }
            if can_expire {
                let _ = tokio::time::timeout(EXPIRY_EVERY, changed).await;
            } else {
                changed.await;
            }
        }
    }
}

/// The identity of a caller under another snapshot, if it may call a tool.
fn permitted<'s>(snapshot: &'s Snapshot, caller: Caller<'_>, tool: &Tool) -> Option<Identity<'s>> {
    let identity = snapshot.identify_again(caller.identity, now()).ok()?;
    permit(snapshot, &identity, caller, tool).ok()?;
    Some(identity)
}

/// Whether a call that was permitted to an earlier identity is permitted to the one that it is now.
fn permit<'s>(
    snapshot: &'s Snapshot,
    identity: &Identity<'s>,
    earlier: Caller<'_>,
    tool: &Tool,
) -> Result<(), Denied<'s>> {
    let tool = authorise(snapshot.tools.by_name.get(tool.name.as_str()), identity)?;
    still_meets(tool, identity, earlier.identity)
}

#[cfg(test)]
mod tests;
