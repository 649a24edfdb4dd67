//! Which of a server's rules admits a client: the first whose namespaces match, and none is no.

use portcullis_crds::{
    condition::Reason,
    contract::{ClientRule, NamespacesFrom, ServerHalf},
};

use super::client::Asking;
use crate::condition::ConditionState;

/// Whether a client is admitted.
pub(super) enum Admission<'a> {
    By(&'a ClientRule),
    Refused(ConditionState),
}

/// Decides about each client; they come oldest first, and of too many the oldest are admitted.
pub(super) fn admit<'a, 'h>(half: &'h ServerHalf, asking: Vec<Asking<'a>>) -> Vec<(Asking<'a>, Admission<'h>)> {
    let rules = &half.spec.clients;
    let mut admitted = vec![0_u32; rules.len()];
    let decide = |asking: &Asking<'_>| {
        if asking.had.is_none() && !asking.findings.is_empty() {
            return Admission::Refused(ConditionState::no(Reason::Invalid, asking.findings.to_string()));
        }
        let namespace = asking.input.client.namespace();
        let is_same = namespace == half.server.namespace;
        let found = rules.iter().zip(&mut admitted).find(|(rule, _)| match rule.namespaces.from {
            NamespacesFrom::Same => is_same,
            NamespacesFrom::All => true,
        });
        match found {
            None => Admission::Refused(ConditionState::no(
                Reason::NotAllowed,
                format!("no rule in the McpServer's spec.clients admits clients of namespace `{namespace}`"),
            )),
            Some((rule, count)) if *count >= rule.max_clients => Admission::Refused(ConditionState::no(
                Reason::TooManyClients,
                format!(
                    "the rule for namespace `{namespace}` admits {} clients, and as many are older",
                    rule.max_clients
                ),
            )),
            Some((rule, count)) => {
                *count += 1;
                Admission::By(rule)
            }
        }
    };
    let mut decide = decide;
    asking
        .into_iter()
        .map(|asking| {
            let admission = decide(&asking);
            (asking, admission)
        })
        .collect()
}
