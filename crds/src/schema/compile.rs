//! From a JSON Schema to its nodes (drafts 2020-12 and 7).
//!
//! Everything that a schema may take is bounded here: its nodes, values and patterns draw on one budget with those of all other
//! schemas of the server. A schema that refers to itself without going down in the value is refused, since it means nothing.

mod chains;
mod keywords;
mod names;
mod references;
mod uri;
mod values;

use std::collections::HashMap;

use serde_json::{Map, Value};

use self::{
    chains::{check_chains, share},
    names::Names,
    values::text,
};
use super::{
    Budget,
    instance::escape,
    node::{Keyword, Node, NodeId},
    shortened,
};

/// How deep a schema may nest. Its arrays and objects are twice as deep.
const MAX_DEPTH: usize = 64;
/// How many bytes of the pointer of a schema count as much as a keyword.
const POINTER_BYTES: usize = 64;
const DRAFT_2020: &str = "https://json-schema.org/draft/2020-12/schema";
const DRAFT_7: &str = "http://json-schema.org/draft-07/schema";

/// What is wrong with a schema, and where.
#[derive(Debug)]
pub(super) struct Refused {
    pub pointer: String,
    pub message: String,
}

type Result<T> = std::result::Result<T, Refused>;

pub(super) fn compile(schema: &Value, budget: &mut Budget) -> Result<Vec<Node>> {
    let is_draft_7 = is_draft_7(schema.get("$schema"))?;
    let mut compiler = Compiler {
        root: schema,
        is_draft_7,
        budget,
        nodes: Vec::new(),
        known: HashMap::new(),
        pending: Vec::new(),
        names: None,
        depth: 0,
    };
    compiler.node(schema, String::new())?;
    while let Some((id, target, pointer)) = compiler.pending.pop() {
        compiler.fill(id, target, &pointer)?;
    }
    let Compiler { mut nodes, .. } = compiler;
    share(&mut nodes);
    check_chains(&nodes)?;
    Ok(nodes)
}

/// Whether `$schema` is that of draft 7.
pub(super) fn is_draft_7(dialect: Option<&Value>) -> Result<bool> {
    match dialect.map(|dialect| dialect.as_str().map(|text| text.trim_end_matches('#'))) {
        None | Some(Some(DRAFT_2020)) => Ok(false),
        Some(Some(DRAFT_7)) => Ok(true),
        Some(_) => {
            let message = format!("must be `{DRAFT_2020}`, which is the default, or `{DRAFT_7}#`");
            Err(Refused { pointer: "/$schema".into(), message })
        }
    }
}

struct Compiler<'a> {
    root: &'a Value,
    is_draft_7: bool,
    budget: &'a mut Budget,
    nodes: Vec<Node>,
    /// The node at each pointer.
    known: HashMap<String, NodeId>,
    /// The schemas that were referred to and are not compiled yet: in turn, so that references take no stack.
    pending: Vec<(NodeId, &'a Value, String)>,
    /// Once one is asked for.
    names: Option<Names<'a>>,
    depth: usize,
}

impl Compiler<'_> {
    /// The node of a schema at a pointer.
    fn node(&mut self, schema: &Value, pointer: String) -> Result<NodeId> {
        if let Some(known) = self.known.get(&pointer) {
            return Ok(*known);
        }
        let id = self.reserve(&pointer)?;
        self.fill(id, schema, &pointer)?;
        Ok(id)
    }

    fn reserve(&mut self, pointer: &str) -> Result<NodeId> {
        let id = self.nodes.len() as NodeId;
        // Each schema below a long name has that name in its pointer.
        self.take(1 + pointer.len() / POINTER_BYTES, pointer)?;
        self.nodes.push(Node { pointer: pointer.into(), keywords: Box::default(), is_shared: false });
        self.known.insert(pointer.to_owned(), id);
        Ok(id)
    }

    fn fill(&mut self, id: NodeId, schema: &Value, pointer: &str) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            return refuse(pointer, format!("schemas must not nest deeper than {MAX_DEPTH}"));
        }
        self.depth += 1;
        let keywords = match schema {
            Value::Bool(true) => Vec::new(),
            Value::Bool(false) => vec![Keyword::Nothing],
            Value::Object(schema) => self.keywords(schema, pointer)?,
            _ => return refuse(pointer, "must be a schema: an object, true or false"),
        };
        self.depth -= 1;
        self.take(keywords.len(), pointer)?;
        self.nodes[id as usize].keywords = keywords.into();
        Ok(())
    }

    fn take(&mut self, count: usize, pointer: &str) -> Result<()> {
        match self.budget.nodes_left.checked_sub(count) {
            Some(left) => {
                self.budget.nodes_left = left;
                Ok(())
            }
            None => {
                let most = Budget::NODES;
                refuse(
                    pointer,
                    format!(
                        "exceeds what all schemas of a server may have together ({most} keywords and values; a schema counts once \
                         more for each {POINTER_BYTES} bytes of its path)"
                    ),
                )
            }
        }
    }

    fn keywords(&mut self, schema: &Map<String, Value>, at: &str) -> Result<Vec<Keyword>> {
        let mut all = Vec::new();
        if let Some(id) = schema.get("$id") {
            text(id, &below(at, "$id"))?;
        }
        if !at.is_empty()
            && let Some(dialect) = schema.get("$schema")
            && is_draft_7(Some(dialect)).ok() != Some(self.is_draft_7)
        {
            return refuse(&below(at, "$schema"), "must be that of the whole schema");
        }
        if let Some(reference) = schema.get("$ref") {
            all.push(Keyword::Ref(self.reference(reference, &below(at, "$ref"))?, "$ref"));
            if self.is_draft_7 {
                return Ok(all);
            }
        }
        if let Some(reference) = schema.get("$dynamicRef").filter(|_| !self.is_draft_7) {
            all.push(Keyword::Ref(self.dynamic_reference(reference, &below(at, "$dynamicRef"))?, "$dynamicRef"));
        }
        self.assertions(schema, at, &mut all)?;
        self.members(schema, at, &mut all)?;
        self.items(schema, at, &mut all)?;
        self.combinations(schema, at, &mut all)?;
        if !self.is_draft_7 {
            if let Some(node) = self.child(schema, "unevaluatedItems", at)? {
                all.push(Keyword::UnevaluatedItems(node));
            }
            if let Some(node) = self.child(schema, "unevaluatedProperties", at)? {
                all.push(Keyword::UnevaluatedProperties(node));
            }
        }
        Ok(all)
    }
}

fn refuse<T>(pointer: &str, message: impl Into<String>) -> Result<T> {
    Err(Refused { pointer: shortened(pointer), message: message.into() })
}

fn below(at: &str, token: &str) -> String {
    format!("{at}/{}", escape(token))
}
