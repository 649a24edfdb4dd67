//! From a JSON Schema to its nodes (drafts 2020-12 and 7).
//!
//! Everything that a schema may take is bounded here: its nodes, values and patterns draw on one budget with those of all other
//! schemas of the server. A schema that refers to itself without going down in the value is refused, since it means nothing.

use std::{borrow::Cow, collections::HashMap};

use serde_json::{Map, Value};

use super::{
    Budget,
    equality::Values,
    format::Format,
    instance::escape,
    node::{Contains, Keyword, Members, Node, NodeId, TYPES},
    number::Number,
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

/// A keyword by its name, made from its value.
type Named<T> = (&'static str, fn(T) -> Keyword);

/// The tokens of the pointer of each anchor. Pointers would repeat long names.
type Anchors<'a> = HashMap<&'a str, Vec<Cow<'a, str>>>;

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
        anchors: None,
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
    anchors: Option<Anchors<'a>>,
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
            let message = format!("is {id}, which would change what references mean; leave it out");
            return refuse(&below(at, "$id"), message);
        }
        if let Some(reference) = schema.get("$ref") {
            all.push(Keyword::Ref(self.reference(reference, &below(at, "$ref"))?, "$ref"));
            if self.is_draft_7 {
                return Ok(all);
            }
        }
        if let Some(reference) = schema.get("$dynamicRef").filter(|_| !self.is_draft_7) {
            all.push(Keyword::Ref(self.reference(reference, &below(at, "$dynamicRef"))?, "$dynamicRef"));
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

    /// What decides about a value without looking into it.
    fn assertions(&mut self, schema: &Map<String, Value>, at: &str, all: &mut Vec<Keyword>) -> Result<()> {
        if let Some(types) = schema.get("type") {
            all.push(Keyword::Type(type_bits(types, &below(at, "type"))?));
        }
        if let Some(value) = schema.get("const") {
            all.push(Keyword::Const(self.values(&Value::Array(vec![value.clone()]), &below(at, "const"))?));
        }
        if let Some(values) = schema.get("enum") {
            let at = below(at, "enum");
            all.push(Keyword::Enum(self.values(list(values, &at).map(|_| values)?, &at)?));
        }
        let numbers: [Named<Number>; 5] = [
            ("multipleOf", Keyword::MultipleOf),
            ("maximum", Keyword::Maximum),
            ("exclusiveMaximum", Keyword::ExclusiveMaximum),
            ("minimum", Keyword::Minimum),
            ("exclusiveMinimum", Keyword::ExclusiveMinimum),
        ];
        for (name, keyword) in numbers {
            let Some(value) = schema.get(name) else { continue };
            let Value::Number(number) = value else { return refuse(&below(at, name), "must be a number") };
            let number = Number::from(number);
            if name == "multipleOf" && number.compare(Number::Integer(0)).is_le() {
                return refuse(&below(at, name), "must be a number above 0");
            }
            all.push(keyword(number));
        }
        let counts: [Named<u64>; 6] = [
            ("maxLength", Keyword::MaxLength),
            ("minLength", Keyword::MinLength),
            ("maxItems", Keyword::MaxItems),
            ("minItems", Keyword::MinItems),
            ("maxProperties", Keyword::MaxProperties),
            ("minProperties", Keyword::MinProperties),
        ];
        for (name, keyword) in counts {
            all.extend(count(schema, name, at)?.map(keyword));
        }
        if let Some(pattern) = schema.get("pattern") {
            let at = below(at, "pattern");
            all.push(Keyword::Pattern(self.pattern(text(pattern, &at)?, &at)?));
        }
        if let Some(format) = schema.get("format") {
            all.extend(Format::of(text(format, &below(at, "format"))?).map(Keyword::Format));
        }
        match schema.get("uniqueItems") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => all.push(Keyword::UniqueItems),
            Some(_) => return refuse(&below(at, "uniqueItems"), "must be true or false"),
        }
        if let Some(required) = schema.get("required") {
            let names = self.names(required, &below(at, "required"))?;
            all.push(Keyword::Required(names));
        }
        Ok(())
    }

    /// What decides about the members of an object.
    fn members(&mut self, schema: &Map<String, Value>, at: &str, all: &mut Vec<Keyword>) -> Result<()> {
        let mut properties = self.children(schema, "properties", at)?;
        properties.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut patterns = Vec::new();
        for (pattern, node) in self.children(schema, "patternProperties", at)? {
            let at = below(&below(at, "patternProperties"), &pattern);
            patterns.push((self.pattern(&pattern, &at)?, node));
        }
        let additional = self.child(schema, "additionalProperties", at)?;
        if ["properties", "patternProperties", "additionalProperties"].iter().any(|name| schema.contains_key(*name)) {
            let (properties, patterns) = (properties.into(), patterns.into());
            all.push(Keyword::Members(Members { properties, patterns, additional }));
        }
        if let Some(node) = self.child(schema, "propertyNames", at)? {
            all.push(Keyword::PropertyNames(node));
        }
        let dependencies = if self.is_draft_7 { "dependencies" } else { "dependentRequired" };
        let (mut names, mut nodes) = (Vec::new(), Vec::new());
        for (name, value) in object(schema, dependencies, at)?.into_iter().flatten() {
            let at = below(&below(at, dependencies), name);
            if value.is_array() || !self.is_draft_7 {
                names.push((name.as_str().into(), self.names(value, &at)?));
            } else {
                nodes.push((name.as_str().into(), self.node(value, at)?));
            }
        }
        if !self.is_draft_7 {
            nodes = self.children(schema, "dependentSchemas", at)?;
        }
        if !names.is_empty() {
            all.push(Keyword::DependentRequired(names.into()));
        }
        if !nodes.is_empty() {
            all.push(Keyword::DependentSchemas(nodes.into()));
        }
        Ok(())
    }

    /// What decides about the items of an array.
    fn items(&mut self, schema: &Map<String, Value>, at: &str, all: &mut Vec<Keyword>) -> Result<()> {
        let prefix = if self.is_draft_7 { "items" } else { "prefixItems" };
        let mut from = 0;
        let is_list = schema.get(prefix).is_some_and(Value::is_array);
        if is_list || (!self.is_draft_7 && schema.contains_key(prefix)) {
            let nodes = self.list(schema, prefix, at)?;
            from = nodes.len() as u32;
            all.push(Keyword::PrefixItems(nodes));
        }
        let rest = if self.is_draft_7 && is_list { "additionalItems" } else { "items" };
        if let Some(node) = self.child(schema, rest, at)? {
            all.push(Keyword::Items(from, node, rest));
        }
        if let Some(node) = self.child(schema, "contains", at)? {
            let (min, max) = match self.is_draft_7 {
                true => (None, None),
                false => (count(schema, "minContains", at)?, count(schema, "maxContains", at)?),
            };
            all.push(Keyword::Contains(Contains { node, min: min.unwrap_or(1), max }));
        }
        Ok(())
    }

    fn combinations(&mut self, schema: &Map<String, Value>, at: &str, all: &mut Vec<Keyword>) -> Result<()> {
        let lists: [Named<Box<[NodeId]>>; 3] =
            [("allOf", Keyword::AllOf), ("anyOf", Keyword::AnyOf), ("oneOf", Keyword::OneOf)];
        for (name, keyword) in lists {
            if schema.contains_key(name) {
                let nodes = self.list(schema, name, at)?;
                if nodes.is_empty() {
                    return refuse(&below(at, name), "must have at least one schema");
                }
                all.push(keyword(nodes));
            }
        }
        if let Some(node) = self.child(schema, "not", at)? {
            all.push(Keyword::Not(node));
        }
        if let Some(condition) = self.child(schema, "if", at)? {
            let (then, otherwise) = (self.child(schema, "then", at)?, self.child(schema, "else", at)?);
            all.push(Keyword::If { condition, then, otherwise });
        }
        Ok(())
    }

    fn child(&mut self, schema: &Map<String, Value>, name: &str, at: &str) -> Result<Option<NodeId>> {
        schema.get(name).map(|child| self.node(child, below(at, name))).transpose()
    }

    fn children(&mut self, schema: &Map<String, Value>, name: &str, at: &str) -> Result<Vec<(Box<str>, NodeId)>> {
        let at_all = below(at, name);
        let children = object(schema, name, at)?.into_iter().flatten();
        children.map(|(key, child)| Ok((key.as_str().into(), self.node(child, below(&at_all, key))?))).collect()
    }

    fn list(&mut self, schema: &Map<String, Value>, name: &str, at: &str) -> Result<Box<[NodeId]>> {
        let at = below(at, name);
        let all = list(schema.get(name).unwrap_or(&Value::Null), &at)?;
        all.iter().enumerate().map(|(n, child)| self.node(child, below(&at, &n.to_string()))).collect()
    }

    fn names(&mut self, names: &Value, at: &str) -> Result<Box<[Box<str>]>> {
        let names = list(names, at)?;
        self.take(names.len(), at)?;
        names.iter().map(|name| text(name, at).map(Into::into)).collect()
    }

    fn values(&mut self, values: &Value, at: &str) -> Result<Values> {
        let values = Values::new(values);
        self.take(values.len(), at)?;
        Ok(values)
    }

    fn pattern(&mut self, pattern: &str, at: &str) -> Result<std::sync::Arc<super::pattern::Pattern>> {
        self.budget.patterns.compile(pattern).or_else(|error| refuse(at, error.to_string()))
    }

    /// The node that a reference inside of the document refers to: a JSON pointer or an anchor.
    fn reference(&mut self, reference: &Value, at: &str) -> Result<NodeId> {
        let reference = text(reference, at)?;
        let Some(fragment) = reference.strip_prefix('#') else {
            return refuse(
                at,
                format!("refers to `{}`; only references inside the document (#…) are allowed", shortened(reference)),
            );
        };
        let missing = || Refused {
            pointer: shortened(at),
            message: format!("refers to `{}`, which does not exist", shortened(reference)),
        };
        let pointer = match decoded(fragment) {
            Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => pointer,
            Some(anchor) => self.anchor(&anchor).ok_or_else(missing)?,
            None => return Err(missing()),
        };
        let target = self.root.pointer(&pointer).ok_or_else(missing)?;
        let pointer = canonical(&pointer);
        if let Some(known) = self.known.get(&pointer) {
            return Ok(*known);
        }
        let id = self.reserve(&pointer)?;
        self.pending.push((id, target, pointer));
        Ok(id)
    }

    fn anchor(&mut self, name: &str) -> Option<String> {
        let root = self.root;
        if self.anchors.is_none() {
            let mut anchors = HashMap::new();
            find_anchors(root, &mut Vec::new(), &mut anchors);
            self.anchors = Some(anchors);
        }
        let tokens = self.anchors.as_ref()?.get(name)?;
        Some(tokens.iter().map(|token| format!("/{}", escape(token))).collect())
    }
}

/// Every `$anchor` and `$dynamicAnchor`, except in data. `at` has the tokens of the pointer of the value.
fn find_anchors<'v>(value: &'v Value, at: &mut Vec<Cow<'v, str>>, anchors: &mut Anchors<'v>) {
    match value {
        Value::Object(map) => {
            for name in ["$anchor", "$dynamicAnchor"].iter().filter_map(|keyword| map.get(*keyword)?.as_str()) {
                anchors.entry(name).or_insert_with(|| at.clone());
            }
            for (name, child) in map.iter().filter(|(name, _)| !DATA.contains(&name.as_str())) {
                at.push(Cow::Borrowed(name));
                find_anchors(child, at, anchors);
                at.pop();
            }
        }
        Value::Array(all) => {
            for (n, child) in all.iter().enumerate() {
                at.push(Cow::Owned(n.to_string()));
                find_anchors(child, at, anchors);
                at.pop();
            }
        }
        _ => {}
    }
}

/// Keywords whose values are data, and hold no schemas.
pub(super) const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

fn refuse<T>(pointer: &str, message: impl Into<String>) -> Result<T> {
    Err(Refused { pointer: shortened(pointer), message: message.into() })
}

fn below(at: &str, token: &str) -> String {
    format!("{at}/{}", escape(token))
}

/// The pointer in the form in which the places of a schema are named: without leading zeros and the like there is only one.
fn canonical(pointer: &str) -> String {
    let tokens = pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"));
    tokens.map(|token| format!("/{}", escape(&token))).collect()
}

/// A fragment without its percent-encoding (RFC 3986, 2.1).
fn decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

fn type_bits(types: &Value, at: &str) -> Result<u8> {
    let bit = |name: &Value| match TYPES.iter().position(|known| name == known) {
        Some(n) => Ok(1 << n),
        None => refuse(at, format!("must be one of {}, or a list of them", TYPES.join(", "))),
    };
    match types {
        Value::Array(all) => all.iter().try_fold(0, |bits, name| Ok(bits | bit(name)?)),
        name => bit(name),
    }
}

fn list<'v>(value: &'v Value, at: &str) -> Result<&'v [Value]> {
    value.as_array().map(Vec::as_slice).map_or_else(|| refuse(at, "must be a list"), Ok)
}

fn text<'v>(value: &'v Value, at: &str) -> Result<&'v str> {
    value.as_str().map_or_else(|| refuse(at, "must be a string"), Ok)
}

fn object<'v>(schema: &'v Map<String, Value>, name: &str, at: &str) -> Result<Option<&'v Map<String, Value>>> {
    match schema.get(name) {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => refuse(&below(at, name), "must be an object"),
    }
}

/// A whole number that is not negative, which may be written as `2.0`.
fn count(schema: &Map<String, Value>, name: &str, at: &str) -> Result<Option<u64>> {
    let Some(value) = schema.get(name) else { return Ok(None) };
    let number = match value {
        Value::Number(number) => Number::from(number),
        _ => return refuse(&below(at, name), "must be a whole number from 0 up"),
    };
    match number {
        Number::Integer(count) if count >= 0 => Ok(Some(count.unsigned_abs())),
        Number::Unsigned(count) => Ok(Some(count)),
        Number::Double(double) if double > 0.0 && number.is_integer() => Ok(Some(u64::MAX)),
        _ => refuse(&below(at, name), "must be a whole number from 0 up"),
    }
}

/// Marks the nodes about which is remembered what was found out: those that are referred to. If anything depends on what was
/// evaluated, each node may be asked about the same value more than once.
fn share(nodes: &mut [Node]) {
    let keywords = || nodes.iter().flat_map(|node| &node.keywords);
    let all = keywords().any(|it| matches!(it, Keyword::UnevaluatedItems(_) | Keyword::UnevaluatedProperties(_)));
    let targets: Vec<NodeId> =
        keywords().filter_map(|keyword| if let Keyword::Ref(node, _) = keyword { Some(*node) } else { None }).collect();
    nodes.iter_mut().for_each(|node| node.is_shared = all);
    targets.into_iter().for_each(|node| nodes[node as usize].is_shared = true);
}

/// Refuses a node that is reached from itself without going down in the value, and one that is reached from another one over too
/// many others.
fn check_chains(nodes: &[Node]) -> Result<()> {
    /// How many nodes may be applied to one value, each because of the one before.
    const LONGEST: usize = 64;
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Never,
        Above,
        /// The longest chain from here.
        Done(usize),
    }
    let mut seen = vec![Seen::Never; nodes.len()];
    for start in 0..nodes.len() {
        let mut path: Vec<(usize, Vec<NodeId>, usize)> = Vec::new();
        let mut enter = Some(start);
        loop {
            if let Some(node) = enter.take() {
                let pointer = || nodes[node].pointer.to_string();
                match seen[node] {
                    Seen::Above => {
                        return refuse(&pointer(), "refers to itself for the same value, so that it decides nothing");
                    }
                    Seen::Never => {
                        seen[node] = Seen::Above;
                        path.push((node, nodes[node].keywords.iter().flat_map(Keyword::in_place).collect(), 0));
                    }
                    Seen::Done(length) => {
                        if let Some((_, _, longest)) = path.last_mut() {
                            *longest = (*longest).max(length);
                        }
                    }
                }
            }
            let Some((node, children, longest)) = path.last_mut() else { break };
            if let Some(child) = children.pop() {
                enter = Some(child as usize);
                continue;
            }
            let (node, length) = (*node, *longest + 1);
            if length > LONGEST {
                let message =
                    format!("applies more than {LONGEST} schemas to one value, each because of the one before");
                return refuse(&nodes[node].pointer, message);
            }
            seen[node] = Seen::Done(length);
            path.pop();
            if let Some((_, _, longest)) = path.last_mut() {
                *longest = (*longest).max(length);
            }
        }
    }
    Ok(())
}
