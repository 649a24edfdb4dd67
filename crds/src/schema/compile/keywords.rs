//! From the keywords of a schema to what a node has to decide.

use serde_json::{Map, Value};

use super::{
    Compiler, Result, below, refuse,
    values::{count, list, object, text, type_bits},
};
use crate::schema::{
    equality::Values,
    format::Format,
    node::{Contains, Keyword, Members, NodeId},
    number::Number,
    pattern::Pattern,
};

/// A keyword by its name, made from its value.
type Named<T> = (&'static str, fn(T) -> Keyword);

impl Compiler<'_> {
    /// What decides about a value without looking into it.
    pub(super) fn assertions(&mut self, schema: &Map<String, Value>, at: &str, all: &mut Vec<Keyword>) -> Result<()> {
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
    pub(super) fn members(&mut self, schema: &Map<String, Value>, at: &str, all: &mut Vec<Keyword>) -> Result<()> {
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
        let mut of_nodes = dependencies;
        if !self.is_draft_7 {
            of_nodes = "dependentSchemas";
            nodes = self.children(schema, of_nodes, at)?;
        }
        if !names.is_empty() {
            all.push(Keyword::DependentRequired(names.into(), dependencies));
        }
        if !nodes.is_empty() {
            all.push(Keyword::DependentSchemas(nodes.into(), of_nodes));
        }
        Ok(())
    }

    /// What decides about the items of an array.
    pub(super) fn items(&mut self, schema: &Map<String, Value>, at: &str, all: &mut Vec<Keyword>) -> Result<()> {
        let prefix = if self.is_draft_7 { "items" } else { "prefixItems" };
        let mut from = 0;
        let is_list = schema.get(prefix).is_some_and(Value::is_array);
        if is_list || (!self.is_draft_7 && schema.contains_key(prefix)) {
            let nodes = self.list(schema, prefix, at)?;
            from = nodes.len() as u32;
            all.push(Keyword::PrefixItems(nodes, prefix));
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

    pub(super) fn combinations(&mut self, schema: &Map<String, Value>, at: &str, all: &mut Vec<Keyword>) -> Result<()> {
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

    pub(super) fn child(&mut self, schema: &Map<String, Value>, name: &str, at: &str) -> Result<Option<NodeId>> {
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

    fn pattern(&mut self, pattern: &str, at: &str) -> Result<std::sync::Arc<Pattern>> {
        self.budget.patterns.compile(pattern).or_else(|error| refuse(at, error.to_string()))
    }
}
