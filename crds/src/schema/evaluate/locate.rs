//! What is to be mended about a value, in sentences for whoever sent it: where it is, and what the schema demands there.
//!
//! The first few faults are found, with the steps that are left. A sentence contains what the schema has, never a value, nor a name
//! that the schema lacks: such a name is `*` in a place.

use super::{
    Evaluation, ROOT, Result,
    demand::{Demand, count, name, names},
};
use crate::schema::{
    Violation,
    instance::{Instance, ItemId, Value},
    node::{Contains, Keyword, NodeId},
    shortened,
    steps::Exhausted,
};

/// How many faults are told.
pub(super) const MOST: usize = 5;
/// The steps for the words about a fault.
const STEPS_OF_FAULT: usize = 50;

/// A keyword that does not hold.
#[derive(Debug)]
pub(super) struct Fault {
    pub keyword: &'static str,
    pub place: String,
    pub schema_path: String,
    /// The sentence.
    pub text: String,
}

/// The first faults.
#[derive(Debug)]
pub(super) struct Faults {
    pub found: Vec<Fault>,
    pub most: usize,
}

/// A value, and the schemas that are applied to it.
#[derive(Clone)]
pub(super) struct At {
    pub item: ItemId,
    /// As a JSON pointer.
    pub place: String,
    pub applied: Vec<NodeId>,
}

impl At {
    pub fn below(&self, item: ItemId, token: &str) -> Self {
        Self { item, place: shortened(&format!("{}/{token}", self.place)), applied: Vec::new() }
    }

    /// The subject of a sentence.
    pub fn subject(&self) -> String {
        if self.place.is_empty() { "the arguments".into() } else { format!("`{}`", self.place) }
    }

    /// A part of the value, after its name.
    pub fn of(&self) -> String {
        if self.place.is_empty() { String::new() } else { format!(" of `{}`", self.place) }
    }
}

impl Faults {
    pub fn is_full(&self) -> bool {
        self.found.len() >= self.most
    }

    /// A sentence for each fault, with its keyword.
    fn message(&self) -> String {
        let mut sentences = self.found.iter().map(|fault| format!("{} (`{}`)", fault.text, fault.keyword));
        let mut message = match self.found.len() {
            1 => sentences.next().unwrap_or_default(),
            _ => sentences.map(|sentence| format!("\n- {sentence}")).collect(),
        };
        if self.found.iter().any(|fault| fault.place.contains("/*")) {
            message.push_str("\n`*` in a place is a name that the schema does not have.");
        }
        message
    }
}

impl<'a> Evaluation<'a> {
    /// The violation of the whole schema, which does not hold.
    pub(super) fn violation(&mut self) -> Result<Violation> {
        let mut faults = Faults { found: Vec::new(), most: MOST };
        let at = At { item: Instance::ROOT, place: String::new(), applied: Vec::new() };
        // What was found is told although the steps did not suffice for more.
        let all = self.faults(ROOT, &at, &mut faults);
        let Some(first) = faults.found.first() else { return Err(all.err().unwrap_or(Exhausted)) };
        Ok(Violation {
            keyword: first.keyword,
            instance_path: first.place.clone(),
            schema_path: shortened(&first.schema_path),
            message: faults.message(),
        })
    }

    /// The faults of a value by a schema.
    pub(super) fn faults(&mut self, node: NodeId, at: &At, out: &mut Faults) -> Result<()> {
        if self.depth >= super::MAX_DEPTH {
            return Err(Exhausted);
        }
        self.depth += 1;
        let mut at = at.clone();
        at.applied.push(node);
        let found = self.faults_of_node(node, &at, out);
        self.depth -= 1;
        found
    }

    fn faults_of_node(&mut self, node: NodeId, at: &At, out: &mut Faults) -> Result<()> {
        let keywords = &self.node(node).keywords;
        // Of a value of another kind, nothing else matters.
        for keyword in keywords.iter().filter(|keyword| keyword.is_of_kind()) {
            if !self.holds(keyword, node, at.item)? {
                let demand = Demand::of_node(self.nodes, node);
                return self.add(keyword.name(), node, at, format!("{} must {demand}", at.subject()), out);
            }
        }
        for keyword in keywords.iter().filter(|keyword| !keyword.is_of_kind()) {
            if out.is_full() {
                return Ok(());
            }
            if !self.holds(keyword, node, at.item)? {
                self.fault(keyword, node, at, out)?;
            }
        }
        Ok(())
    }

    /// The faults by a keyword that does not hold.
    fn fault(&mut self, keyword: &'a Keyword, node: NodeId, at: &At, out: &mut Faults) -> Result<()> {
        match (keyword, self.instance.value(at.item)) {
            (Keyword::Ref(target, _), _) => self.faults(*target, at, out),
            (Keyword::AllOf(nodes), _) => {
                for child in nodes {
                    if !out.is_full() && !self.is_valid(*child, at.item)? {
                        self.faults(*child, at, out)?;
                    }
                }
                Ok(())
            }
            (Keyword::AnyOf(nodes) | Keyword::OneOf(nodes), _) => self.alternatives(keyword, nodes, node, at, out),
            (Keyword::If { condition, then, otherwise }, _) => {
                let is_met = self.is_valid(*condition, at.item)?;
                let (branch, keyword) = if is_met { (then, "then") } else { (otherwise, "else") };
                let Some(branch) = branch else { return Ok(()) };
                let condition = format!("the schema's `if` (to {})", Demand::of_node(self.nodes, *condition));
                if self.is_nothing(*branch) {
                    let not = if is_met { " not" } else { "" };
                    return self.add(keyword, node, at, format!("{} must{not} fit {condition}", at.subject()), out);
                }
                let fits = if is_met { "fits" } else { "does not fit" };
                self.faults_because(*branch, &format!("because it {fits} {condition}"), at, out)
            }
            (Keyword::DependentSchemas(all, keyword), Value::Object(members)) => {
                for (of, child) in all {
                    self.steps.take(1)?;
                    if members.find(of).is_none() || self.is_valid(*child, at.item)? {
                        continue;
                    }
                    if self.is_nothing(*child) {
                        self.add(keyword, node, at, format!("{}{} must not be given", name(of), at.of()), out)?;
                    } else {
                        self.faults_because(*child, &format!("because {} is given", name(of)), at, out)?;
                    }
                }
                Ok(())
            }
            (Keyword::Members(of), Value::Object(members)) => self.faults_of_members(of, members, node, at, out),
            (Keyword::Required(all), Value::Object(members)) => {
                self.missing(all, keyword.name(), members, "", (node, at), out)
            }
            (Keyword::DependentRequired(all, keyword), Value::Object(members)) => {
                for (of, all) in all.iter().filter(|(of, _)| members.find(of).is_some()) {
                    self.missing(all, keyword, members, &format!(", because {} is given", name(of)), (node, at), out)?;
                }
                Ok(())
            }
            (Keyword::PrefixItems(nodes, _), Value::Array(items)) => {
                for (n, (child, item)) in nodes.iter().zip(items).enumerate() {
                    self.fault_of_item(keyword, (*child, item, n), n, (node, at), out)?;
                }
                Ok(())
            }
            (Keyword::Items(from, child, _), Value::Array(items)) => {
                for (n, item) in items.enumerate().skip(*from as usize) {
                    self.fault_of_item(keyword, (*child, item, n), *from as usize, (node, at), out)?;
                }
                Ok(())
            }
            (Keyword::UnevaluatedItems(child), Value::Array(items)) => {
                let first = items.start;
                let unevaluated = self.unevaluated_items(node, at.item, items)?;
                let allowed = unevaluated.first().map_or(0, |item| (item - first) as usize);
                for item in unevaluated {
                    self.fault_of_item(keyword, (*child, item, (item - first) as usize), allowed, (node, at), out)?;
                }
                Ok(())
            }
            (Keyword::UnevaluatedProperties(child), Value::Object(members)) => {
                let unevaluated = self.unevaluated_members(node, at.item, members)?;
                if self.is_nothing(*child) {
                    let known = self.known_names(at);
                    let unknown: Vec<_> = unevaluated.iter().take(MOST).map(|n| members.name(*n)).collect();
                    let missing = known.iter().copied().filter(|name| members.find(name).is_none());
                    let suggestions = self.suggestions(&unknown, missing);
                    let allowed = if known.is_empty() { "none".into() } else { names(known.into_iter()) };
                    let number = (unevaluated.len(), suggestions.as_str());
                    return self.unknown(keyword.name(), number, &allowed, (node, at), out);
                }
                for n in unevaluated {
                    if !out.is_full() && !self.is_valid(*child, members.value_id(n))? {
                        self.faults(*child, &at.below(members.value_id(n), "*"), out)?;
                    }
                }
                Ok(())
            }
            (Keyword::PropertyNames(child), _) => {
                let text = match Demand::of_node(self.nodes, *child) {
                    _ if self.is_nothing(*child) => format!("{} must have no properties", at.subject()),
                    demand => format!("each name of a property of {} must {demand}", at.subject()),
                };
                self.add(keyword.name(), node, at, text, out)
            }
            (Keyword::Contains(contains), Value::Array(items)) => {
                self.fault_of_contains(contains, items, node, at, out)
            }
            _ => {
                let text = format!("{} must {}", at.subject(), Demand::of_keyword(self.nodes, keyword));
                self.add(keyword.name(), node, at, text, out)
            }
        }
    }

    /// The faults by a schema that is applied for a reason, which the sentences say.
    fn faults_because(&mut self, child: NodeId, because: &str, at: &At, out: &mut Faults) -> Result<()> {
        let before = out.found.len();
        let all = self.faults(child, at, out);
        for fault in &mut out.found[before..] {
            fault.text = format!("{}, {because}", fault.text);
        }
        all
    }

    /// The fault of an item, of which there may be `allowed` if its schema is `false`.
    fn fault_of_item(
        &mut self,
        keyword: &Keyword,
        (child, item, n): (NodeId, ItemId, usize),
        allowed: usize,
        (node, at): (NodeId, &At),
        out: &mut Faults,
    ) -> Result<()> {
        if out.is_full() || self.is_valid(child, item)? {
            return Ok(());
        }
        if !self.is_nothing(child) {
            return self.faults(child, &at.below(item, &n.to_string()), out);
        }
        // Each further item has the same fault.
        if out.found.last().is_some_and(|last| last.keyword == keyword.name() && last.place == at.place) {
            return Ok(());
        }
        let text = format!("{} must have at most {}", at.subject(), count(allowed as u64, "item"));
        self.add(keyword.name(), node, at, text, out)
    }

    fn fault_of_contains(
        &mut self,
        contains: &Contains,
        items: std::ops::Range<ItemId>,
        node: NodeId,
        at: &At,
        out: &mut Faults,
    ) -> Result<()> {
        let mut found = 0;
        for item in items {
            found += u64::from(self.is_valid(contains.node, item)?);
        }
        let keyword = match contains {
            Contains { min, .. } if found < *min && *min == 1 => "contains",
            Contains { min, .. } if found < *min => "minContains",
            _ => "maxContains",
        };
        let text = format!("{} must {}", at.subject(), Demand::of_contains(self.nodes, contains));
        self.add(keyword, node, at, text, out)
    }

    pub(super) fn is_nothing(&self, node: NodeId) -> bool {
        matches!(*self.node(node).keywords, [Keyword::Nothing])
    }

    pub(super) fn add(
        &mut self,
        keyword: &'static str,
        node: NodeId,
        at: &At,
        text: String,
        out: &mut Faults,
    ) -> Result<()> {
        // Names that the schema lacks are all alike.
        if out.found.iter().any(|fault| fault.text == text) {
            return Ok(());
        }
        let schema_path = format!("{}/{keyword}", self.node(node).pointer);
        out.found.push(Fault { keyword, place: at.place.clone(), schema_path, text });
        self.steps.take(STEPS_OF_FAULT)
    }
}
