//! Decides whether a value is valid, in bounded steps.
//!
//! What is found out about a value by a schema that is referred to is remembered, so that a schema which branches and refers to
//! itself takes time in proportion to its size and that of the value, and not to the number of ways through it. The first violation
//! is located afterwards, on one way down.

mod alternatives;
mod demand;
mod locate;
mod members;
mod unevaluated;

use std::{collections::HashMap, ops::Range};

use super::{
    Violation,
    equality::{are_unique, hashes},
    instance::{self, Instance, ItemId, Value},
    node::{Contains, Keyword, Members, Node, NodeId, TYPES},
    number::Number,
    pattern::StateSets,
    steps::{Exhausted, Steps},
};

/// How many schemas may be in progress: values nest 64 deep, and each is judged by a few schemas because of one another.
const MAX_DEPTH: usize = 400;
const ROOT: NodeId = 0;

/// The check of one value.
pub(super) struct Evaluation<'a> {
    nodes: &'a [Node],
    instance: &'a Instance,
    steps: Steps,
    depth: usize,
    known: HashMap<(NodeId, ItemId), bool>,
    /// The hash of each item, once one is needed.
    hashes: Option<Vec<u64>>,
    sets: StateSets,
    /// While the words about one of several alternatives are made.
    is_inside_alternatives: bool,
}

/// Where the schemas of a member are from. Names of members that no property declares are the caller's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Property,
    Pattern,
    Additional,
}

type Result<T> = std::result::Result<T, Exhausted>;

impl<'a> Evaluation<'a> {
    pub fn new(nodes: &'a [Node], instance: &'a Instance, steps: Steps) -> Self {
        let (known, sets) = (HashMap::new(), StateSets::default());
        Self { nodes, instance, steps, depth: 0, known, hashes: None, sets, is_inside_alternatives: false }
    }

    /// Returns the first violation.
    pub fn run(mut self) -> Result<std::result::Result<(), Violation>> {
        if self.is_valid(ROOT, Instance::ROOT)? {
            return Ok(Ok(()));
        }
        self.violation().map(Err)
    }

    /// Whether a part of the schema holds for the value; `false` if the steps do not suffice.
    pub fn accepts(mut self, node: NodeId) -> bool {
        self.is_valid(node, Instance::ROOT).unwrap_or(false)
    }

    /// Whether a part of the schema does not hold for the value; `false` if the steps do not suffice.
    pub fn refuses(mut self, node: NodeId) -> bool {
        self.is_valid(node, Instance::ROOT).is_ok_and(|is_valid| !is_valid)
    }

    fn node(&self, node: NodeId) -> &'a Node {
        &self.nodes[node as usize]
    }

    fn is_valid(&mut self, node: NodeId, item: ItemId) -> Result<bool> {
        self.steps.take(1)?;
        let Node { keywords, is_shared, .. } = self.node(node);
        if *is_shared {
            self.steps.take(4)?;
            if let Some(known) = self.known.get(&(node, item)) {
                return Ok(*known);
            }
        }
        if self.depth >= MAX_DEPTH {
            return Err(Exhausted);
        }
        self.depth += 1;
        let mut is_valid = true;
        for keyword in keywords {
            if !self.holds(keyword, node, item)? {
                is_valid = false;
                break;
            }
        }
        self.depth -= 1;
        if *is_shared {
            self.known.insert((node, item), is_valid);
        }
        Ok(is_valid)
    }

    fn all_valid(&mut self, nodes: &[NodeId], item: ItemId) -> Result<bool> {
        for node in nodes {
            if !self.is_valid(*node, item)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many of the schemas hold; no more than `most` are counted.
    fn count(&mut self, nodes: &[NodeId], item: ItemId, most: usize) -> Result<usize> {
        let mut count = 0;
        for node in nodes {
            count += usize::from(self.is_valid(*node, item)?);
            if count >= most {
                break;
            }
        }
        Ok(count)
    }

    fn holds(&mut self, keyword: &'a Keyword, node: NodeId, item: ItemId) -> Result<bool> {
        self.steps.take(1)?;
        match keyword {
            Keyword::AllOf(nodes) => return self.all_valid(nodes, item),
            Keyword::AnyOf(nodes) => return Ok(self.count(nodes, item, 1)? == 1),
            Keyword::OneOf(nodes) => return Ok(self.count(nodes, item, 2)? == 1),
            Keyword::Not(child) => return Ok(!self.is_valid(*child, item)?),
            Keyword::Ref(target, _) => return self.is_valid(*target, item),
            Keyword::If { condition, then, otherwise } => {
                let branch = if self.is_valid(*condition, item)? { then } else { otherwise };
                return branch.map_or(Ok(true), |branch| self.is_valid(branch, item));
            }
            Keyword::Nothing => return Ok(false),
            Keyword::Type(bits) => return Ok(bits_of(&self.instance.value(item)) & bits != 0),
            Keyword::Enum(values) | Keyword::Const(values) => {
                let (instance, all) = (self.instance, &mut self.hashes);
                return values.contain((instance, item), &mut self.steps, |steps| {
                    if all.is_none() {
                        *all = Some(hashes(instance, steps)?);
                    }
                    Ok(all.as_ref().map_or(0, |all| all[item as usize]))
                });
            }
            _ => {}
        }
        match self.instance.value(item) {
            Value::Number(number) => self.number_holds(keyword, number),
            Value::String(text) => self.text_holds(keyword, text),
            Value::Array(items) => self.array_holds(keyword, node, item, items),
            Value::Object(members) => self.object_holds(keyword, node, item, members),
            Value::Null | Value::Bool(_) => Ok(true),
        }
    }

    fn number_holds(&mut self, keyword: &Keyword, number: Number) -> Result<bool> {
        Ok(match keyword {
            Keyword::MultipleOf(divisor) => {
                self.steps.take(number.division_steps(*divisor))?;
                number.is_multiple_of(*divisor)
            }
            Keyword::Maximum(most) => number.compare(*most).is_le(),
            Keyword::ExclusiveMaximum(most) => number.compare(*most).is_lt(),
            Keyword::Minimum(least) => number.compare(*least).is_ge(),
            Keyword::ExclusiveMinimum(least) => number.compare(*least).is_gt(),
            _ => true,
        })
    }

    fn text_holds(&mut self, keyword: &Keyword, text: &str) -> Result<bool> {
        match keyword {
            Keyword::MaxLength(most) => Ok(self.length(text)? <= *most),
            Keyword::MinLength(least) => Ok(self.length(text)? >= *least),
            Keyword::Pattern(pattern) => pattern.is_match(text, &mut self.sets, &mut self.steps),
            Keyword::Format(format) => {
                self.steps.take(1 + text.len().saturating_mul(format.steps()) / 8)?;
                Ok(format.is_valid(text))
            }
            _ => Ok(true),
        }
    }

    /// In characters (code points).
    fn length(&mut self, text: &str) -> Result<u64> {
        self.steps.read(text)?;
        Ok(text.chars().count() as u64)
    }

    fn array_holds(&mut self, keyword: &'a Keyword, node: NodeId, item: ItemId, items: Range<ItemId>) -> Result<bool> {
        let count = items.len() as u64;
        match keyword {
            Keyword::MaxItems(most) => Ok(count <= *most),
            Keyword::MinItems(least) => Ok(count >= *least),
            Keyword::UniqueItems => {
                if self.hashes.is_none() {
                    self.hashes = Some(hashes(self.instance, &mut self.steps)?);
                }
                let hashes = self.hashes.as_deref().unwrap_or_default();
                are_unique(self.instance, items, hashes, &mut self.steps)
            }
            Keyword::PrefixItems(..) | Keyword::Items(..) => self.items_hold(keyword, items),
            Keyword::Contains(contains) => self.contains(contains, items),
            Keyword::UnevaluatedItems(child) => {
                for item in self.unevaluated_items(node, item, items)? {
                    if !self.is_valid(*child, item)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    fn contains(&mut self, contains: &Contains, items: Range<ItemId>) -> Result<bool> {
        let mut found = 0;
        for item in items {
            // Without a maximum, it is enough to have found enough.
            if found >= contains.min && contains.max.is_none_or(|max| found > max) {
                break;
            }
            found += u64::from(self.is_valid(contains.node, item)?);
        }
        Ok(found >= contains.min && contains.max.is_none_or(|max| found <= max))
    }

    fn object_holds(
        &mut self,
        keyword: &'a Keyword,
        node: NodeId,
        item: ItemId,
        members: instance::Members<'a>,
    ) -> Result<bool> {
        let count = u64::from(members.count());
        match keyword {
            Keyword::MaxProperties(most) => Ok(count <= *most),
            Keyword::MinProperties(least) => Ok(count >= *least),
            Keyword::Required(names) => {
                self.steps.take(names.len())?;
                Ok(names.iter().all(|name| members.find(name).is_some()))
            }
            Keyword::DependentRequired(all, _) => {
                self.steps.take(all.iter().map(|(_, names)| 1 + names.len()).sum())?;
                let has = |name: &str| members.find(name).is_some();
                Ok(all.iter().all(|(name, names)| !has(name) || names.iter().all(|name| has(name))))
            }
            Keyword::Members(of) => self.members_hold(of, members),
            Keyword::PropertyNames(child) => {
                for n in 0..members.count() {
                    if !self.is_valid(*child, members.name_id(n))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Keyword::DependentSchemas(all, _) => {
                for (name, node) in all {
                    self.steps.take(1)?;
                    if members.find(name).is_some() && !self.is_valid(*node, item)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Keyword::UnevaluatedProperties(child) => {
                for n in self.unevaluated_members(node, item, members)? {
                    if !self.is_valid(*child, members.value_id(n))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    fn items_hold(&mut self, keyword: &Keyword, items: Range<ItemId>) -> Result<bool> {
        match keyword {
            Keyword::PrefixItems(nodes, _) => {
                for (node, item) in nodes.iter().zip(items) {
                    if !self.is_valid(*node, item)? {
                        return Ok(false);
                    }
                }
            }
            Keyword::Items(from, node, _) => {
                for item in items.skip(*from as usize) {
                    if !self.is_valid(*node, item)? {
                        return Ok(false);
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }

    fn members_hold(&mut self, of: &Members, members: instance::Members<'a>) -> Result<bool> {
        for n in 0..members.count() {
            let (schemas, _) = self.schemas_of(of, members.name(n))?;
            for node in schemas {
                if !self.is_valid(node, members.value_id(n))? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The schemas of a member, and where they are from.
    fn schemas_of(&mut self, of: &Members, name: &str) -> Result<(Vec<NodeId>, Source)> {
        self.steps.take(1)?;
        self.steps.read(name)?;
        let property = of.properties.binary_search_by(|(known, _)| (**known).cmp(name));
        let mut schemas: Vec<_> = property.ok().map(|n| of.properties[n].1).into_iter().collect();
        for (pattern, node) in &of.patterns {
            if pattern.is_match(name, &mut self.sets, &mut self.steps)? {
                schemas.push(*node);
            }
        }
        let source = match (property, schemas.is_empty()) {
            (Ok(_), _) => Source::Property,
            (Err(_), false) => Source::Pattern,
            (Err(_), true) => {
                schemas.extend(of.additional);
                Source::Additional
            }
        };
        Ok((schemas, source))
    }
}

fn bits_of(value: &Value<'_>) -> u8 {
    let bit = |name: &str| TYPES.iter().position(|known| *known == name).map_or(0, |n| 1 << n);
    match value {
        Value::Null => bit("null"),
        Value::Bool(_) => bit("boolean"),
        Value::Number(number) if number.is_integer() => bit("integer") | bit("number"),
        Value::Number(_) => bit("number"),
        Value::String(_) => bit("string"),
        Value::Array(_) => bit("array"),
        Value::Object(_) => bit("object"),
    }
}
