//! What a server reports to its clients. Each client writes it into its own status.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use portcullis_crds::{ClientId, NamespacedName};

use super::{confirmation::Confirmations, fetch::Fetched};
use crate::{
    controller::{
        context::{Context, ReconcileKey},
        memory::{ReportBasis, ServerReport},
    },
    sync::lock,
    validate::{ClientInput, ClientOutcome, ServerPlan},
};

/// Reports to each client what became of its access, and reconciles those for which that is new. A client that no longer names the
/// server gets a report until every pod has confirmed that.
pub fn report_to_clients(
    context: &Context,
    fetched: &Fetched,
    plan: &ServerPlan,
    confirmations: &Confirmations<'_>,
    unwritten: &BTreeSet<ClientId>,
) {
    let namespace = &fetched.name.namespace;
    let seen: BTreeMap<NamespacedName, ReportBasis> = fetched.input.clients.iter().map(basis).collect();
    let report = |client: &NamespacedName, outcome: Option<ClientOutcome>| {
        let id = ClientId::of(namespace, client).ok()?;
        Some(ServerReport { basis: seen.get(client).cloned(), outcome, confirmation: confirmations.of(&id) })
    };
    let named = plan.outcomes().filter_map(|(client, outcome)| Some((client.clone(), report(client, Some(outcome))?)));
    let mut now: HashMap<NamespacedName, ServerReport> = named.collect();
    for client in former(context, fetched, plan, unwritten) {
        if let Some(report) = report(&client, None).filter(|report| !report.confirmation.is_removed()) {
            now.insert(client, report);
        }
    }
    let memory = context.of_servers.of(&fetched.name);
    let (before, awaited_by) = {
        let mut memory = lock(&memory);
        (memory.reports.replace(now.clone()).unwrap_or_default(), std::mem::take(&mut memory.awaited_by))
    };
    let gone = before.keys().filter(|client| !now.contains_key(*client));
    let news = now.iter().filter(|(client, report)| before.get(client) != Some(report)).map(|(client, _)| client);
    for client in awaited_by {
        context.queue.add(ReconcileKey::Client(client));
    }
    for client in gone.chain(news) {
        note_former(context, client, &fetched.name, now.get(client));
        context.queue.add(ReconcileKey::Client(client.clone()));
    }
}

fn basis(input: &ClientInput) -> (NamespacedName, ReportBasis) {
    let client = input.client.object();
    (client.namespaced_name(), ReportBasis::new(client, input.credentials.clone()))
}

/// The clients that do not name the server and may still have access to it somewhere: by what is in the cluster, or by what the
/// latest revisions changed. Those that no longer exist have no status.
fn former(
    context: &Context,
    fetched: &Fetched,
    plan: &ServerPlan,
    unwritten: &BTreeSet<ClientId>,
) -> BTreeSet<NamespacedName> {
    let memory = context.of_servers.of(&fetched.name);
    let changed: BTreeSet<ClientId> =
        lock(&memory).changes.values().flat_map(|changes| changes.clients().cloned()).collect();
    let clients = changed.iter().chain(unwritten).map(|id| id.resolve(&fetched.name.namespace));
    let is_former = |client: &NamespacedName| {
        !plan.decisions.contains_key(client)
            && context.clients.get(client).is_some_and(|client| !client.is_terminating())
    };
    clients.filter(is_former).collect()
}

/// Keeps with the client which servers it is to wait for although it does not name them.
fn note_former(context: &Context, client: &NamespacedName, server: &NamespacedName, report: Option<&ServerReport>) {
    if report.is_some_and(|report| report.outcome.is_none()) {
        lock(&context.of_clients.of(client)).former_servers.insert(server.clone());
    } else if let Some(memory) = context.of_clients.known(client) {
        lock(&memory).former_servers.remove(server);
    }
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
