//! What a server reports to its clients. Each client writes it into its own status.

use portcullis_crds::NamespacedName;

use super::fetch::Fetched;
use crate::{
    condition::ConditionState,
    controller::{
        context::{Context, ReconcileKey},
        memory::{ServerMemory, ServerReport},
    },
    sync::lock,
    validate::ServerPlan,
};

/// Reports to each client what became of its access, and reconciles those for which that is new.
pub fn report_to_clients(context: &Context, fetched: &Fetched, plan: &ServerPlan, synced: &ConditionState) {
    let memory = context.of_servers.of(&fetched.name);
    let mut memory = lock(&memory);
    if synced.is_true() {
        memory.pending.clear();
    }
    let ServerMemory { pending, reports, .. } = &mut *memory;
    let now = plan.outcomes().map(|(client, outcome)| {
        let is_pending = pending.contains(client);
        (client.clone(), ServerReport { outcome, is_pending, synced: synced.clone() })
    });
    let now = now.collect();
    let before = std::mem::replace(reports, now);
    for (client, report) in reports.iter() {
        if before.get(client).is_none_or(|before| is_news(before, report)) {
            context.queue.add(ReconcileKey::Client(client.clone()));
        }
    }
}

/// `PolicySynced` changes with the edits of all clients. A client whose access is in force gets a report only for its own.
fn is_news(before: &ServerReport, now: &ServerReport) -> bool {
    let is_concerned = now.is_pending || before.is_pending || !before.synced.is_true() || !now.synced.is_true();
    before.outcome != now.outcome
        || before.is_pending != now.is_pending
        || (is_concerned && before.synced != now.synced)
}

/// Reports once that the server is being deleted: to its clients it no longer exists.
pub fn report_end(context: &Context, name: &NamespacedName) {
    let memory = context.of_servers.of(name);
    if !std::mem::replace(&mut lock(&memory).is_end_reported, true) {
        for client in context.index.clients(name) {
            context.queue.add(ReconcileKey::Client(client));
        }
    }
}
