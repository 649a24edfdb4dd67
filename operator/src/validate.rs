//! The rules between objects: which clients a server admits, what each is granted, and what its pods are to obey.
//!
//! Pure: the same input gives the same plan, in whatever order it comes. All findings are returned at once, and none of
//! them blocks a revocation: what is invalid keeps at most what it had (API.md, "Rules that the API keeps").

mod admission;
mod client;
mod documents;
mod grant;
mod plan;
mod resources;
mod server_half;

pub use client::{client, server_of};
pub use plan::{ClientInput, ClientOutcome, Documents, Published, ServerInput, ServerPlan};
pub use server_half::findings;

use std::{collections::BTreeMap, sync::Arc};

use portcullis_crds::{Finding, Findings, contract::ServerHalf};

use admission::{Admission, admit};
use documents::Entry;

/// The documents of one server, and the outcome for each of its clients.
///
/// While the McpServer's spec has errors, its last published half stays in force, with the clients as they are now.
pub fn server(input: &ServerInput) -> ServerPlan {
    let findings = match server_half::checked(&input.server) {
        Ok(half) => match plan(input, half, Findings::default()) {
            Ok(plan) => return plan,
            Err(too_large) => too_large.into(),
        },
        Err(findings) => findings,
    };
    if let Some(half) = server_half::published(input)
        && let Ok(plan) = plan(input, half, findings.clone())
    {
        return plan;
    }
    let asking = client::asking(input, None);
    let outcomes = asking.iter().map(|asking| (asking.name(), ClientOutcome::server_never_valid())).collect();
    ServerPlan { findings, documents: None, outcomes }
}

/// The plan with this half. The findings are those of the half that was asked for.
///
/// # Errors
/// Returns an error if the policy does not fit into a ConfigMap even without clients.
fn plan(input: &ServerInput, half: Arc<ServerHalf>, findings: Findings) -> Result<ServerPlan, Finding> {
    let asking = client::asking(input, Some(&half));
    let server_is_valid = findings.is_empty();
    let mut outcomes = BTreeMap::new();
    let mut entries = Vec::new();
    for (asking, admission) in admit(&half, asking) {
        let name = asking.name();
        let outcome = match admission {
            Admission::Refused(verdict) => {
                ClientOutcome { findings: asking.findings.clone(), ..ClientOutcome::refused(verdict) }
            }
            Admission::By(rule) => {
                let grant = grant::grant(&asking, rule, &half);
                let outcome = grant.outcome(&asking, server_is_valid);
                if outcome.granted.is_some() {
                    entries.push(Entry::of(grant.policy_client(&asking), &asking, input));
                }
                outcome
            }
        };
        outcomes.insert(name, outcome);
    }
    let (documents, refused) = documents::documents(half, entries, input)?;
    outcomes.extend(refused.into_iter().map(|(name, verdict)| (name, ClientOutcome::refused(verdict))));
    Ok(ServerPlan { findings, documents: Some(documents), outcomes })
}

#[cfg(test)]
mod tests;
