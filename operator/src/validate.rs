//! The rules between objects: which clients a server admits, what each is granted, and what the server's pods enforce.
//!
//! Pure: the same input gives the same plan, in whatever order the clients come. All findings are returned at once, and none of
//! them holds up a revocation: what has errors keeps at most what it had.

mod admission;
mod bounds;
mod client;
mod client_request;
mod decision;
mod documents;
mod grant;
mod input;
mod narrowed;
mod outcome;
mod plan;
mod resources;
mod server_half;
mod tool_decision;

pub use bounds::{Bound, LimitDecision, RecordsDecision};
pub use client::{CheckedClient, server_of};
pub use client_request::RequestedAccess;
pub use decision::{ClientDecision, Refusal};
pub use documents::Documents;
pub use grant::Grant;
pub use input::{ClientInput, Published, ServerInput};
pub use outcome::ClientOutcome;
pub use plan::ServerPlan;
pub use server_half::server_half;
pub use tool_decision::ToolDecision;

use std::{collections::BTreeMap, sync::Arc};

use portcullis_crds::{
    Finding, Findings,
    contract::{PublishedHalf, ServerHalf},
};

use admission::Admission;
use client_request::{ClientRequest, requests};
use documents::{Entry, documents};
use narrowed::narrowed;

/// Checks the server, and plans it.
pub fn server(input: &ServerInput) -> ServerPlan {
    plan(input, server_half(&input.server, &input.cluster_domain))
}

/// Plans a server that was checked already: the documents of its pods, and a decision about each of its clients.
///
/// While the McpServer has errors, its published half stays in force, with the clients as they are now. The rules and limits of the
/// spec count where they take something away.
pub fn plan(input: &ServerInput, checked: Result<Arc<ServerHalf>, Findings>) -> ServerPlan {
    let findings = match checked {
        Ok(half) => match plan_with(input, half.into(), None, Findings::default()) {
            Ok(plan) => return plan,
            Err(too_large) => too_large.into(),
        },
        Err(findings) => findings,
    };
    if let Some(half) = server_half::published(input) {
        let before = half.readable.clone();
        if let Ok(plan) = plan_with(input, narrowed(half, &input.server), Some(&before), findings.clone()) {
            return plan;
        }
    }
    let refused = |findings| ClientDecision { findings, result: Err(Refusal::ServerNeverValid) };
    let requests = requests(input, None);
    let credentials = documents::remaining(&requests, &input.published);
    let decisions = requests.into_iter().map(|request| (request.name(), refused(request.findings)));
    ServerPlan { findings, documents: None, credentials, decisions: decisions.collect() }
}

/// The plan with this half. The findings are those of the McpServer. If not all of the half can be read, no client is granted more than
/// what is published. Only clients are admitted that the half `before` admits, too: a rule that was narrowed for each of two groups of
/// clients still counts both together.
///
/// # Errors
/// Returns an error if the policy does not fit into a ConfigMap even without clients.
fn plan_with(
    input: &ServerInput,
    published: PublishedHalf,
    before: Option<&ServerHalf>,
    findings: Findings,
) -> Result<ServerPlan, Finding> {
    let half = &published.readable;
    let is_bounded = !published.is_complete();
    let mut decisions = BTreeMap::new();
    let mut entries = Vec::new();
    let mut admission = Admission::new(half);
    let mut admission_before = before.map(Admission::new);
    for request in requests(input, Some(half)) {
        let request = ClientRequest { is_bounded, ..request };
        let was_admitted = admission_before.as_mut().map_or(Ok(0), |before| before.admit(&request));
        let grant = was_admitted.and_then(|_| admission.admit(&request));
        let grant = grant.map(|rule| Grant::new(&request, rule, half));
        let result = grant.and_then(|grant| grant.is_enforceable().then_some(grant).ok_or(Refusal::LimitBelowReplicas));
        let has_none = request.input.credentials.as_ref().is_some_and(Vec::is_empty);
        let is_left_out = has_none && input.is_credentials_document_stuck;
        if let Ok(grant) = &result
            && !is_left_out
        {
            entries.push(Entry::new(grant.policy_client(&request), &request, &input.published));
        }
        decisions.insert(request.name(), ClientDecision { findings: request.findings, result });
    }
    let (documents, refused) = documents(&published, entries, input)?;
    for (client, refusal) in refused {
        if let Some(decision) = decisions.get_mut(&client) {
            decision.result = Err(refusal);
        }
    }
    Ok(ServerPlan { findings, documents: Some(documents), credentials: None, decisions })
}

#[cfg(test)]
mod tests;
