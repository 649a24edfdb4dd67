//! What is to be mended about the members of an object: those that are wrong, missing, or too many.

use super::{
    Evaluation, Result, Source,
    demand::{Demand, allowed, joined, name, names, properties, token},
    locate::{At, Faults, MOST},
};
use crate::{
    nearest::nearest_within,
    schema::{
        instance,
        node::{Keyword, Members, NodeId},
        shortened,
    },
};

/// The most steps for the names that may have been meant.
const STEPS_OF_SUGGESTIONS: usize = 2_000;

impl<'a> Evaluation<'a> {
    pub(super) fn faults_of_members(
        &mut self,
        of: &'a Members,
        members: instance::Members<'a>,
        node: NodeId,
        at: &At,
        out: &mut Faults,
    ) -> Result<()> {
        let mut unknown = Vec::new();
        for n in 0..members.count() {
            let (of_member, value) = (members.name(n), members.value_id(n));
            let (schemas, source) = self.schemas_of(of, of_member)?;
            for child in schemas {
                if out.is_full() || self.is_valid(child, value)? {
                    continue;
                }
                match source {
                    Source::Additional if self.is_nothing(child) => unknown.push(of_member),
                    Source::Property => {
                        let at = at.below(value, &token(of_member));
                        if self.is_nothing(child) {
                            self.add("properties", node, &at, format!("{} must not be given", at.subject()), out)?;
                        } else {
                            self.faults(child, &at, out)?;
                        }
                    }
                    Source::Pattern if self.is_nothing(child) => {
                        let pattern = of.patterns.iter().find(|(_, node)| *node == child);
                        let pattern = pattern.map_or("", |(pattern, _)| pattern.source());
                        let text =
                            format!("{} must have no property that matches `{}`", at.subject(), shortened(pattern));
                        self.add("patternProperties", node, at, text, out)?;
                    }
                    Source::Pattern | Source::Additional => self.faults(child, &at.below(value, "*"), out)?,
                }
            }
        }
        if !unknown.is_empty() {
            let known = of.properties.iter().map(|(name, _)| &**name).filter(|name| members.find(name).is_none());
            let suggestions = self.suggestions(&unknown, known);
            self.unknown("additionalProperties", (unknown.len(), &suggestions), &allowed(of), (node, at), out)?;
        }
        Ok(())
    }

    /// The names of the schema that are nearest to the first of those that it lacks. There are none if the steps do not suffice.
    pub(super) fn suggestions<'n>(&mut self, unknown: &[&str], known: impl Iterator<Item = &'n str> + Clone) -> String {
        let most = usize::try_from(self.steps.left() / 2).unwrap_or(usize::MAX).min(STEPS_OF_SUGGESTIONS);
        let mut work = most;
        let mut near = Vec::new();
        for unknown in unknown.iter().take(MOST) {
            match nearest_within(unknown, known.clone(), &mut work) {
                Some(name) if !near.contains(&name) => near.push(name),
                _ => {}
            }
        }
        let are_left = self.steps.take(most - work).is_ok();
        if near.is_empty() || !are_left {
            return String::new();
        }
        format!(" (did you mean {}?)", names(near.into_iter()))
    }

    /// The fault of so many properties that the schema lacks, with suggestions.
    pub(super) fn unknown(
        &mut self,
        keyword: &'static str,
        (number, suggestions): (usize, &str),
        allowed: &str,
        (node, at): (NodeId, &At),
        out: &mut Faults,
    ) -> Result<()> {
        let (number, verb) = (properties(number as u64), if number == 1 { "is" } else { "are" });
        let text = format!("{number}{} {verb} not allowed{suggestions}; allowed are {allowed}", at.of());
        self.add(keyword, node, at, text, out)
    }

    /// The fault of required properties that are missing.
    pub(super) fn missing(
        &mut self,
        all: &'a [Box<str>],
        keyword: &'static str,
        members: instance::Members<'a>,
        because: &str,
        (node, at): (NodeId, &At),
        out: &mut Faults,
    ) -> Result<()> {
        self.steps.take(all.len())?;
        let missing: Vec<&str> = all.iter().map(|name| &**name).filter(|name| members.find(name).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        // What the first of them must be, so that they can be added.
        let wanted = missing.iter().take(MOST).filter_map(|missing| {
            let demand = Demand::of_node(self.nodes, self.declared(at, missing)?);
            (!demand.is_empty()).then(|| format!("{} must {demand}", name(missing)))
        });
        let wanted = joined(wanted, ", ");
        let wanted = if wanted.is_empty() { wanted } else { format!("; {wanted}") };
        let (noun, verb) = if missing.len() == 1 { ("property", "is") } else { ("properties", "are") };
        let missing = names(missing.into_iter());
        let text = format!("the required {noun} {missing}{} {verb} missing{because}{wanted}", at.of());
        self.add(keyword, node, at, text, out)
    }

    /// The schema of a property of a value, by one of those that are applied to the value.
    fn declared(&self, at: &At, name: &str) -> Option<NodeId> {
        at.applied.iter().rev().flat_map(|node| &self.node(*node).keywords).find_map(|keyword| {
            let Keyword::Members(of) = keyword else { return None };
            let n = of.properties.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
            Some(of.properties[n].1)
        })
    }

    /// The names that any schema which is applied to the value has.
    pub(super) fn known_names(&self, at: &At) -> Vec<&'a str> {
        let (mut seen, mut known): (Vec<NodeId>, Vec<&'a str>) = (at.applied.clone(), Vec::new());
        let mut next = 0;
        while let Some(node) = seen.get(next).copied().filter(|_| next < 100) {
            for keyword in &self.node(node).keywords {
                if let Keyword::Members(of) = keyword {
                    known.extend(of.properties.iter().map(|(name, _)| &**name).take(100));
                }
                seen.extend(keyword.in_place().into_iter().filter(|child| !at.applied.contains(child)).take(100));
            }
            next += 1;
        }
        known.sort_unstable();
        known.dedup();
        known
    }
}
