//! What a schema demands of a value, in words that follow "must". They are made of the schema alone, and are bounded in length and
//! in work.

use crate::schema::{
    equality::Values,
    format::Format,
    instance::{Instance, ItemId, Value, escape},
    node::{Contains, Keyword, Members, Node, NodeId, TYPES},
    number::Number,
    pattern::Pattern,
};

/// The most bytes of a name, of a value or a pattern, and of all that is demanded at once.
const LONGEST_NAME: usize = 64;
const LONGEST_VALUE: usize = 200;
const LONGEST: usize = 600;
/// How many schemas are looked into for one demand.
const MOST_SCHEMAS: usize = 40;

/// Makes the words of one demand.
pub(super) struct Demand<'a> {
    nodes: &'a [Node],
    schemas_left: usize,
}

impl<'a> Demand<'a> {
    /// Everything that a schema demands; empty if that is nothing.
    pub fn of_node(nodes: &'a [Node], node: NodeId) -> String {
        cut(&Self { nodes, schemas_left: MOST_SCHEMAS }.node(node), LONGEST)
    }

    pub fn of_keyword(nodes: &'a [Node], keyword: &Keyword) -> String {
        cut(&Self { nodes, schemas_left: MOST_SCHEMAS }.keyword(keyword), LONGEST)
    }

    fn node(&mut self, node: NodeId) -> String {
        let Some(left) = self.schemas_left.checked_sub(1) else { return "…".into() };
        self.schemas_left = left;
        let nodes = self.nodes;
        let keywords = &nodes[node as usize].keywords;
        // What is one of certain values needs no other words.
        let exact = keywords.iter().find(|keyword| matches!(keyword, Keyword::Const(_) | Keyword::Enum(_)));
        let parts = match exact {
            Some(exact) => vec![self.keyword(exact)],
            None => keywords.iter().map(|keyword| self.keyword(keyword)).collect(),
        };
        joined(parts, " and ")
    }

    fn keyword(&mut self, keyword: &Keyword) -> String {
        match keyword {
            Keyword::Nothing => "not be given".into(),
            Keyword::Type(bits) => types(*bits),
            Keyword::Enum(values) | Keyword::Const(values) => one_of(values),
            Keyword::MultipleOf(divisor) => format!("be a multiple of {}", number(*divisor)),
            Keyword::Maximum(most) => format!("be at most {}", number(*most)),
            Keyword::ExclusiveMaximum(most) => format!("be less than {}", number(*most)),
            Keyword::Minimum(least) => format!("be at least {}", number(*least)),
            Keyword::ExclusiveMinimum(least) => format!("be greater than {}", number(*least)),
            Keyword::MaxLength(most) => format!("have at most {}", count(*most, "character")),
            Keyword::MinLength(least) => format!("have at least {}", count(*least, "character")),
            Keyword::Pattern(pattern) => matching(pattern),
            Keyword::Format(format) => formatted(*format),
            Keyword::MaxItems(most) => format!("have at most {}", count(*most, "item")),
            Keyword::MinItems(least) => format!("have at least {}", count(*least, "item")),
            Keyword::UniqueItems => "have no two equal items".into(),
            Keyword::MaxProperties(most) => format!("have at most {}", properties(*most)),
            Keyword::MinProperties(least) => format!("have at least {}", properties(*least)),
            Keyword::Required(all) if all.is_empty() => String::new(),
            Keyword::Required(all) => required(all),
            Keyword::DependentRequired(all, _) => {
                let parts = all.iter().filter(|(_, all)| !all.is_empty());
                joined(parts.map(|(one, all)| format!("{} if it has {}", required(all), name(one))), " and ")
            }
            Keyword::Members(of) => self.members(of),
            Keyword::PropertyNames(child) => self.with("have only properties whose names must ", *child),
            Keyword::PrefixItems(nodes, _) => {
                let parts = nodes
                    .iter()
                    .enumerate()
                    .map(|(n, node)| self.with(&format!("have an item {n}, if any, that must "), *node));
                joined(parts, " and ")
            }
            Keyword::Items(from, node, _) if self.is_nothing(*node) => {
                format!("have at most {}", count((*from).into(), "item"))
            }
            Keyword::Items(0, node, _) => self.with("have only items that must ", *node),
            Keyword::Items(from, node, _) => {
                self.with(&format!("have from item {from} on only items that must "), *node)
            }
            Keyword::Contains(contains) => self.contains(contains),
            Keyword::AllOf(nodes) => joined(nodes.iter().map(|node| self.node(*node)), " and "),
            Keyword::AnyOf(nodes) => self.alternatives("fit one of these", nodes),
            Keyword::OneOf(nodes) => self.alternatives("fit exactly one of these", nodes),
            Keyword::Not(child) => self.not(*child),
            Keyword::If { condition, then, otherwise } => {
                let condition = self.node(*condition);
                let mut parts = Vec::new();
                for (branch, word) in [(then, "if"), (otherwise, "unless")] {
                    let demand = branch.map(|branch| self.node(branch)).unwrap_or_default();
                    if !demand.is_empty() {
                        parts.push(format!("{demand} ({word} it fits this: to {condition})"));
                    }
                }
                joined(parts, " and ")
            }
            Keyword::DependentSchemas(all, _) => {
                let parts = all.iter().map(|(of, node)| {
                    let demand = self.node(*node);
                    if demand.is_empty() { demand } else { format!("{demand} if it has {}", name(of)) }
                });
                joined(parts, " and ")
            }
            Keyword::Ref(target, _) => self.node(*target),
            Keyword::UnevaluatedProperties(child) if self.is_nothing(*child) => "have no other properties".into(),
            Keyword::UnevaluatedProperties(child) => self.with("have as other properties only what must ", *child),
            Keyword::UnevaluatedItems(child) if self.is_nothing(*child) => "have no other items".into(),
            Keyword::UnevaluatedItems(child) => self.with("have as other items only what must ", *child),
        }
    }

    fn is_nothing(&self, node: NodeId) -> bool {
        matches!(*self.nodes[node as usize].keywords, [Keyword::Nothing])
    }

    /// Nothing if the schema demands nothing.
    fn with(&mut self, words: &str, node: NodeId) -> String {
        let demand = self.node(node);
        if demand.is_empty() { demand } else { format!("{words}{demand}") }
    }

    fn members(&mut self, of: &Members) -> String {
        let properties = of.properties.iter().map(|(of, node)| self.with(&format!("{} must ", name(of)), *node));
        let mut parts = vec![joined(properties, " and ")];
        if !parts[0].is_empty() {
            parts[0].insert_str(0, "be such that ");
        }
        for (pattern, node) in of.patterns.iter().take(MOST_SCHEMAS) {
            let words = format!("have as properties that {} only what must ", matching(pattern));
            parts.push(self.with(&words, *node));
        }
        match of.additional {
            Some(node) if self.is_nothing(node) => parts.push(format!("have no properties but {}", allowed(of))),
            Some(node) => parts.push(self.with("have as other properties only what must ", node)),
            None => {}
        }
        joined(parts, " and ")
    }

    pub fn of_contains(nodes: &'a [Node], contains: &Contains) -> String {
        cut(&Self { nodes, schemas_left: MOST_SCHEMAS }.contains(contains), LONGEST)
    }

    fn contains(&mut self, contains: &Contains) -> String {
        let Contains { node, min, max } = contains;
        let number = match max {
            None => format!("at least {}", count(*min, "item")),
            Some(0) => "no item".into(),
            Some(max) if max == min => format!("exactly {}", count(*min, "item")),
            Some(max) if *min == 0 => format!("at most {}", count(*max, "item")),
            Some(max) => format!("from {min} to {max} items"),
        };
        match self.node(*node) {
            demand if demand.is_empty() => format!("have {number}"),
            demand if max.is_none() => format!("have {number} that must {demand}"),
            demand => format!("have {number} that fits this: to {demand}"),
        }
    }

    fn alternatives(&mut self, words: &str, nodes: &[NodeId]) -> String {
        let parts: Vec<_> = nodes.iter().take(MOST_SCHEMAS).map(|node| self.node(*node)).collect();
        if parts.iter().all(|part| part.starts_with("be ") && !part.contains(" and ")) {
            return joined(parts, " or ");
        }
        let parts = parts.into_iter().map(|part| if part.is_empty() { "be anything".into() } else { part });
        let parts = (1..).zip(parts).map(|(n, part)| format!("({n}) {part}"));
        format!("{words}: {}", joined(parts, ", "))
    }

    fn not(&mut self, child: NodeId) -> String {
        match self.node(child) {
            demand if demand.is_empty() => "not be given".into(),
            demand if demand.contains(" and ") => format!("not do all of this at once: {demand}"),
            demand => format!("not {demand}"),
        }
    }
}

fn required(all: &[Box<str>]) -> String {
    let of = if all.len() == 1 { "" } else { "all of " };
    format!("have {of}{}", names(all.iter().map(|name| &**name)))
}

fn types(bits: u8) -> String {
    const WORDS: [&str; 7] =
        ["null", "a boolean (true or false)", "an integer", "a number", "a string", "an array", "an object"];
    let is_wanted = |name: &str| TYPES.iter().position(|known| *known == name).is_some_and(|n| bits & 1 << n != 0);
    let wanted = TYPES.iter().zip(WORDS).filter(|(name, _)| is_wanted(name));
    // Every integer is a number.
    let wanted =
        wanted.filter(|(name, _)| **name != "integer" || !is_wanted("number")).map(|(_, words)| words.to_owned());
    format!("be {}", joined(wanted, " or "))
}

fn one_of(values: &Values) -> String {
    let mut written = values.written(LONGEST_VALUE, LONGEST).into_iter();
    match values.count() {
        0 => "not be given: the schema allows no value".into(),
        1 => format!("be {}", written.next().unwrap_or_default()),
        all => format!("be one of {}", listed(written, all)),
    }
}

/// Names that the schema has, in the bounds of a sentence.
pub(super) fn names<'n>(all: impl ExactSizeIterator<Item = &'n str>) -> String {
    let count = all.len();
    listed(all.map(name), count)
}

/// The names that a schema allows, and what their patterns are.
pub(super) fn allowed(of: &Members) -> String {
    let patterns = of.patterns.iter().map(|pattern| format!("those that {}", matching(&pattern.0)));
    let all = of.properties.iter().map(|(of, _)| name(of)).chain(patterns);
    match of.properties.len() + of.patterns.len() {
        0 => "none".into(),
        count => listed(all, count),
    }
}

/// The first of so many things.
fn listed(all: impl Iterator<Item = String>, count: usize) -> String {
    let (mut list, mut shown) = (String::new(), 0);
    for one in all {
        if list.len() + one.len() > LONGEST - 100 {
            break;
        }
        list.extend([if shown == 0 { "" } else { ", " }, &one]);
        shown += 1;
    }
    match count - shown {
        0 => list,
        left if shown == 0 => format!("{left} that are too long to be shown here"),
        left => format!("{list} and {left} more"),
    }
}

/// The parts that are not empty, as far as there is room.
pub(super) fn joined(parts: impl IntoIterator<Item = String>, with: &str) -> String {
    let mut all = String::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if all.len() > LONGEST {
            return cut(&all, LONGEST);
        }
        if !all.is_empty() {
            all.push_str(with);
        }
        all.push_str(&part);
    }
    all
}

/// A name of the schema's.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", cut(name, LONGEST_NAME))
}

/// The token of a property of the schema's in a pointer.
pub(super) fn token(name: &str) -> String {
    cut(&escape(name), LONGEST_NAME)
}

fn matching(pattern: &Pattern) -> String {
    format!("match the pattern `{}`", cut(pattern.source(), LONGEST_VALUE))
}

fn formatted(format: Format) -> String {
    let (name, example) = format.words();
    format!("have the format `{name}`, such as {example}")
}

pub(super) fn count(count: u64, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn properties(count: u64) -> String {
    if count == 1 { "1 property".into() } else { format!("{count} properties") }
}

pub(super) fn number(number: Number) -> String {
    match number {
        Number::Integer(integer) => integer.to_string(),
        Number::Unsigned(integer) => integer.to_string(),
        Number::Double(double) => serde_json::Value::from(double).to_string(),
    }
}

fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(longest)])
}

impl Values {
    /// The first values as JSON, each of at most so many bytes, until there are so many in all.
    fn written(&self, longest: usize, all: usize) -> Vec<String> {
        let (mut written, mut bytes) = (Vec::new(), 0);
        for item in self.items() {
            let mut text = String::new();
            write_json(self.instance(), item, longest, &mut text);
            bytes += text.len();
            written.push(cut(&text, longest));
            if bytes > all {
                break;
            }
        }
        written
    }
}

/// Appends a value as JSON, and stops soon after so many bytes.
fn write_json(instance: &Instance, item: ItemId, longest: usize, out: &mut String) {
    if out.len() > longest {
        return;
    }
    let text = |text: &str| serde_json::Value::from(cut(text, longest)).to_string();
    match instance.value(item) {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Number(value) => out.push_str(&number(value)),
        Value::String(value) => out.push_str(&text(value)),
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.enumerate().take(longest) {
                out.push_str(if n == 0 { "" } else { "," });
                write_json(instance, item, longest, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for n in 0..members.count().min(longest as u32) {
                out.push_str(if n == 0 { "" } else { "," });
                out.push_str(&text(members.name(n)));
                out.push(':');
                write_json(instance, members.value_id(n), longest, out);
            }
            out.push('}');
        }
    }
}
