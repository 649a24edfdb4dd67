//! One argument, asked by itself: which whole numbers it may be, and whether it may be null.
//!
//! What this server puts in for a caller, or leaves out, is found by asking the compiled schema, so that it does not matter in which form
//! the schema says it: in `allOf`, behind a `$ref`, as `100.0`, or as a list of values.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;

use super::{
    InputSchema,
    evaluate::Evaluation,
    instance::Instance,
    node::{Keyword, Node, NodeId},
    number::Number,
    pattern::StateSets,
    steps::Steps,
};

/// How many bounds and steps are looked at, how many numbers are tried, and the steps of each attempt.
const MOST_NUMBERS: usize = 32;
const MOST_TRIED: usize = 64;
const STEPS: Steps = Steps::new(1_000);
const ROOT: NodeId = 0;

/// An argument that takes whole numbers.
#[derive(Clone, Debug)]
pub struct WholeNumbers {
    nodes: Arc<[Node]>,
    /// Its schemas, whatever else is sent.
    schemas: Vec<NodeId>,
    /// Where something may change: bounds, and values that are listed.
    numbers: Vec<u64>,
    divisors: Vec<u64>,
    /// Whether nothing but its own schemas decides about it.
    pub is_alone: bool,
}

impl WholeNumbers {
    /// The numbers from 1 to `most` that its own schemas accept: the greatest of those that were tried first.
    pub fn accepted(&self, most: u64) -> impl Iterator<Item = u64> {
        let mut tried: Vec<u64> = self.numbers.iter().copied().chain([most]).filter(|number| *number <= most).collect();
        let multiples = |divisor: &u64| tried.iter().map(|number| number - number % divisor).collect::<Vec<_>>();
        let multiples: Vec<_> = self.divisors.iter().flat_map(multiples).collect();
        tried.extend(multiples);
        tried.sort_unstable_by(|a, b| b.cmp(a));
        tried.dedup();
        tried.into_iter().filter(|number| *number > 0).take(MOST_TRIED).filter(|number| self.accepts(*number))
    }

    fn accepts(&self, number: u64) -> bool {
        let instance = Instance::new(&Value::from(number));
        self.schemas.iter().all(|schema| Evaluation::new(&self.nodes, &instance, STEPS).accepts(*schema))
    }
}

impl InputSchema {
    /// An argument, as far as whole numbers matter.
    pub fn whole_numbers(&self, name: &str) -> WholeNumbers {
        let nodes = &*self.nodes;
        let (always, all) = (self.applied(Keyword::always), self.applied(Keyword::in_place));
        let schemas = always.iter().flat_map(|node| self.schemas_of(*node, name)).collect();
        let mut numbers = WholeNumbers {
            nodes: self.nodes.clone(),
            schemas,
            numbers: Vec::new(),
            divisors: Vec::new(),
            is_alone: nodes[ROOT as usize].keywords.iter().all(|keyword| {
                matches!(
                    keyword,
                    Keyword::Type(_) | Keyword::Required(_) | Keyword::MinProperties(_) | Keyword::Members(_)
                )
            }),
        };
        let mut pending: Vec<NodeId> = all.iter().flat_map(|node| self.schemas_of(*node, name)).collect();
        let mut seen = HashSet::new();
        while let Some(node) = pending.pop() {
            if !seen.insert(node) {
                continue;
            }
            for keyword in &nodes[node as usize].keywords {
                numbers.look_at(keyword);
                pending.extend(keyword.in_place());
            }
        }
        numbers
    }

    /// The arguments that may be absent, but not null.
    pub fn absent_if_null(&self) -> HashSet<Box<str>> {
        let null = Instance::new(&Value::Null);
        let mut names = HashSet::new();
        let applied = self.applied(Keyword::always);
        let keywords = || applied.iter().flat_map(|node| &self.nodes[*node as usize].keywords);
        for keyword in keywords() {
            let Keyword::Members(of) = keyword else { continue };
            let refuse_null =
                of.properties.iter().filter(|(_, node)| Evaluation::new(&self.nodes, &null, STEPS).refuses(*node));
            names.extend(refuse_null.map(|(name, _)| name.clone()));
        }
        for keyword in keywords() {
            if let Keyword::Required(required) = keyword {
                names.retain(|name| !required.contains(name));
            }
        }
        names
    }

    /// The schemas that are applied to the arguments because of the whole one.
    fn applied(&self, next: impl Fn(&Keyword) -> Vec<NodeId>) -> Vec<NodeId> {
        let (mut applied, mut seen, mut n) = (vec![ROOT], HashSet::from([ROOT]), 0);
        while let Some(node) = applied.get(n).copied() {
            let children = self.nodes[node as usize].keywords.iter().flat_map(&next);
            applied.extend(children.filter(|child| seen.insert(*child)));
            n += 1;
        }
        applied
    }

    /// The schemas that a schema of the arguments has for one of them.
    fn schemas_of(&self, node: NodeId, name: &str) -> Vec<NodeId> {
        let mut schemas = Vec::new();
        for keyword in &self.nodes[node as usize].keywords {
            let Keyword::Members(of) = keyword else { continue };
            let before = schemas.len();
            schemas.extend(of.properties.iter().filter(|(known, _)| **known == *name).map(|(_, node)| *node));
            for (pattern, node) in &of.patterns {
                // A pattern that takes long is one that may match.
                if pattern.is_match(name, &mut StateSets::default(), &mut Steps::new(100_000)).unwrap_or(true) {
                    schemas.push(*node);
                }
            }
            if schemas.len() == before {
                schemas.extend(of.additional);
            }
        }
        schemas
    }
}

impl WholeNumbers {
    fn look_at(&mut self, keyword: &Keyword) {
        let whole = |number: Number| number.floor();
        match keyword {
            Keyword::Maximum(most) => self.add(whole(*most)),
            Keyword::ExclusiveMaximum(most) => {
                let most = whole(*most);
                self.add(most);
                self.add(most.and_then(|most| most.checked_sub(1)));
            }
            Keyword::Minimum(least) | Keyword::ExclusiveMinimum(least) => {
                let least = whole(*least);
                self.add(least);
                self.add(least.and_then(|least| least.checked_add(1)));
            }
            Keyword::MultipleOf(divisor) => {
                let divisor = whole(*divisor).filter(|divisor| *divisor > 0);
                self.divisors.extend(divisor.filter(|_| self.divisors.len() < 4));
                self.add(divisor);
            }
            Keyword::Enum(values) | Keyword::Const(values) => {
                // The order of the schema says nothing about which ones are the greatest.
                let mut listed: Vec<_> = values.numbers().filter_map(Number::floor).collect();
                listed.sort_unstable();
                let step = listed.len().div_ceil(MOST_NUMBERS).max(1);
                listed.into_iter().step_by(step).for_each(|number| self.add(Some(number)));
            }
            _ => {}
        }
    }

    fn add(&mut self, number: Option<u64>) {
        self.numbers.extend(number.filter(|_| self.numbers.len() < MOST_NUMBERS));
    }
}
