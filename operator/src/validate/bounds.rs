//! The numbers of a grant: what is requested or the server's own setting, below the rule's ceiling.

use portcullis_crds::contract::{PolicyClient, Rate};

/// Where a granted number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The access requests it.
    Request,
    /// The access requests nothing, and the server's setting applies.
    Server,
    /// The rule allows no more.
    Rule,
    /// The client has errors, and had no more before.
    GrantedBefore,
}

/// The most records that one call returns, and which bound it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordsDecision {
    pub max: u32,
    pub bound: Bound,
}

/// How often the client may call, and which bound it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitDecision {
    pub rate: Rate,
    pub bound: Bound,
}

/// The smallest of the bounds.
pub(super) fn records(requested: u32, ceiling: Option<u32>, before: Option<&PolicyClient>) -> RecordsDecision {
    let mut decision = RecordsDecision { max: requested, bound: Bound::Request };
    let before = before.map(|before| before.max_records_per_query);
    for (bound, max) in [(Bound::Rule, ceiling), (Bound::GrantedBefore, before)] {
        if let Some(max) = max.filter(|max| *max < decision.max) {
            decision = RecordsDecision { max, bound };
        }
    }
    decision
}

/// The limits that apply together. A ceiling over another span than the client's limit applies beside it.
pub(super) fn limits(
    requested: &[Rate],
    per_client: Rate,
    ceiling: Option<Rate>,
    before: Option<&PolicyClient>,
) -> Vec<LimitDecision> {
    let mut limits: Vec<_> = match requested {
        [] => vec![LimitDecision { rate: per_client, bound: Bound::Server }],
        requested => requested.iter().map(|rate| LimitDecision { rate: *rate, bound: Bound::Request }).collect(),
    };
    let before = before.map_or(&[][..], |before| &before.limits);
    let ceiling = ceiling.map(|rate| LimitDecision { rate, bound: Bound::Rule });
    for limit in
        ceiling.into_iter().chain(before.iter().map(|rate| LimitDecision { rate: *rate, bound: Bound::GrantedBefore }))
    {
        lower(&mut limits, limit);
    }
    strictest_two(limits)
}

fn lower(limits: &mut Vec<LimitDecision>, ceiling: LimitDecision) {
    match limits.iter_mut().find(|limit| limit.rate.per == ceiling.rate.per) {
        Some(limit) if ceiling.rate.requests < limit.rate.requests => *limit = ceiling,
        Some(_) => {}
        None => limits.push(ceiling),
    }
}

/// A policy has room for two limits of a client. There can only be more if a client with errors had two and the rule has a
/// third; those that admit the fewest calls over time stay.
fn strictest_two(mut limits: Vec<LimitDecision>) -> Vec<LimitDecision> {
    let per_time = |rate: Rate| u64::from(rate.requests) * 1_000_000 / rate.per.as_millis().max(1);
    limits.sort_by_key(|limit| (per_time(limit.rate), limit.rate));
    limits.truncate(2);
    limits.sort_by_key(|limit| limit.rate);
    limits
}
