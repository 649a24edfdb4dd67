//! The rules between objects: which clients a server admits, what each is granted, and what its pods are to obey.
//!
//! Pure: the same input gives the same plan, in whatever order it comes. All findings are returned at once, and none of
//! them blocks a revocation: what is invalid keeps at most what it had (API.md, "Rules that the API keeps").

mod admission;
mod client;
mod documents;
mod grant;
mod half;
mod plan;
mod resources;

pub use client::{client, server_of};
pub use half::findings;
pub use plan::{ClientInput, ClientOutcome, Documents, Published, ServerInput, ServerPlan, Verdict};

pub use crate::object::{NamespacedName, Object};

use admission::{Admission, admit};
use documents::Entry;

/// What one server is to obey, and what became of its clients.
pub fn server(input: &ServerInput) -> ServerPlan {
    let (half, findings) = half::half(input);
    let asking = client::asking(input, half.as_ref());
    let mut plan = ServerPlan { findings, documents: None, outcomes: Default::default() };
    let Some(half) = half else {
        plan.outcomes = asking.iter().map(|asking| (asking.name(), ClientOutcome::server_never_valid())).collect();
        return plan;
    };
    let server_is_valid = plan.findings.is_empty();
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
        plan.outcomes.insert(name, outcome);
    }
    match documents::documents(half, entries, input) {
        Ok((documents, refused)) => {
            plan.documents = Some(documents);
            for (name, verdict) in refused {
                plan.outcomes.insert(name, ClientOutcome::refused(verdict));
            }
        }
        Err(findings) => plan.findings.0.extend(findings.0),
    }
    plan
}

#[cfg(test)]
mod tests;
