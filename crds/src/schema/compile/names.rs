//! What a schema can refer to by a name: its resources, each with a URI of its own (`$id`), and their anchors (JSON Schema
//! 2020-12, 8.2; draft 7, 8.2).

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use serde_json::{Map, Value};

use super::{Compiler, POINTER_BYTES, Result, below, refuse, uri::resolve, values::text};
use crate::schema::instance::escape;

/// The resource that is the whole document.
pub(super) const ROOT: usize = 0;

/// The most bytes of an `$id`, and of a URI that is made of several.
const LONGEST: usize = 1024;

/// Implementations differ in which one they take.
const TWICE: &str = "names a second schema like an earlier one";

/// Keywords whose values are data, and hold no schemas.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
/// Keywords whose values have schemas by names that are no keywords.
const NAMED: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// Names. Tokens of pointers are kept in place of pointers, which would repeat long names.
pub(super) struct Names<'a> {
    resources: Vec<Resource>,
    by_uri: HashMap<String, usize>,
    by_pointer: HashMap<String, usize>,
    anchors: HashMap<(usize, &'a str), Tokens<'a>>,
}

type Tokens<'a> = Vec<Cow<'a, str>>;

struct Resource {
    /// Without a fragment. That of the root is empty if it has no `$id`.
    uri: String,
    pointer: String,
}

impl<'a> Names<'a> {
    pub(super) fn collect(compiler: &mut Compiler<'a>) -> Result<Self> {
        let root = Resource { uri: String::new(), pointer: String::new() };
        let mut names = Self {
            resources: vec![root],
            by_uri: HashMap::new(),
            by_pointer: HashMap::from([(String::new(), ROOT)]),
            anchors: HashMap::new(),
        };
        names.schema(compiler.root, ROOT, &mut Vec::new(), compiler)?;
        Ok(names)
    }

    /// Whether there is a resource inside of the document.
    pub(super) fn is_bundle(&self) -> bool {
        self.resources.len() > 1
    }

    /// The resource that a place belongs to.
    pub(super) fn around(&self, mut at: &str) -> usize {
        if !self.is_bundle() {
            return ROOT;
        }
        loop {
            if let Some(resource) = self.by_pointer.get(at) {
                return *resource;
            }
            at = &at[..at.rfind('/').unwrap_or(0)];
        }
    }

    pub(super) fn uri(&self, resource: usize) -> &str {
        &self.resources[resource].uri
    }

    pub(super) fn pointer(&self, resource: usize) -> &str {
        &self.resources[resource].pointer
    }

    pub(super) fn resource(&self, uri: &str) -> Option<usize> {
        self.by_uri.get(uri).copied()
    }

    /// The pointer of an anchor.
    pub(super) fn anchor(&self, resource: usize, name: &str) -> Option<String> {
        self.anchors.get(&(resource, name)).map(pointer)
    }

    fn schema(
        &mut self,
        value: &'a Value,
        mut resource: usize,
        at: &mut Tokens<'a>,
        compiler: &mut Compiler<'a>,
    ) -> Result<()> {
        match value {
            Value::Object(schema) => {
                // What is beside `$ref` is ignored in draft 7.
                if !(compiler.is_draft_7 && schema.contains_key("$ref")) {
                    self.id(schema, &mut resource, at, compiler)?;
                }
                let anchors = if compiler.is_draft_7 { &[][..] } else { &["$anchor", "$dynamicAnchor"] };
                for keyword in anchors {
                    if let Some(Value::String(name)) = schema.get(*keyword) {
                        self.anchor_at(keyword, (resource, name), at)?;
                    }
                }
                for (keyword, child) in schema.iter().filter(|(keyword, _)| !DATA.contains(&keyword.as_str())) {
                    at.push(Cow::Borrowed(keyword));
                    match child {
                        Value::Object(named) if NAMED.contains(&keyword.as_str()) => {
                            for (name, child) in named {
                                at.push(Cow::Borrowed(name));
                                self.schema(child, resource, at, compiler)?;
                                at.pop();
                            }
                        }
                        child => self.schema(child, resource, at, compiler)?,
                    }
                    at.pop();
                }
            }
            Value::Array(all) => {
                for (n, child) in all.iter().enumerate() {
                    at.push(Cow::Owned(n.to_string()));
                    self.schema(child, resource, at, compiler)?;
                    at.pop();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn anchor_at(&mut self, keyword: &str, name: (usize, &'a str), at: &Tokens<'a>) -> Result<()> {
        match self.anchors.entry(name) {
            Entry::Vacant(anchor) => {
                anchor.insert(at.clone());
                Ok(())
            }
            Entry::Occupied(earlier) if earlier.get() == at => Ok(()),
            Entry::Occupied(_) => refuse(&below(&pointer(at), keyword), TWICE),
        }
    }

    /// Names the resource that a schema begins with its `$id`.
    fn id(
        &mut self,
        schema: &'a Map<String, Value>,
        resource: &mut usize,
        at: &Tokens<'a>,
        compiler: &mut Compiler<'a>,
    ) -> Result<()> {
        let Some(id) = schema.get("$id") else { return Ok(()) };
        let place = || below(&pointer(at), "$id");
        let id = text(id, &place())?;
        let (uri, fragment) = id.split_once('#').unwrap_or((id, ""));
        if !fragment.is_empty() && !compiler.is_draft_7 {
            return refuse(&place(), "must not have a fragment; use `$anchor`");
        }
        if !uri.is_empty() {
            self.resource_at(uri, resource, at, compiler)?;
        }
        match fragment {
            "" => Ok(()),
            // An anchor of draft 7, in the resource that begins here if one does.
            anchor => self.anchor_at("$id", (*resource, anchor), at),
        }
    }

    /// Begins a resource with this URI, which may be relative to the one around it.
    fn resource_at(
        &mut self,
        uri: &str,
        resource: &mut usize,
        at: &Tokens<'a>,
        compiler: &mut Compiler<'a>,
    ) -> Result<()> {
        let place = || below(&pointer(at), "$id");
        let uri = if uri.len() > LONGEST { String::new() } else { resolve(self.uri(*resource), uri) };
        if uri.is_empty() || uri.len() > LONGEST {
            return refuse(&place(), format!("must not be longer than {LONGEST} bytes"));
        }
        if !at.is_empty() {
            let pointer = pointer(at);
            compiler.take(1 + (pointer.len() + uri.len()) / POINTER_BYTES, &pointer)?;
            *resource = self.resources.len();
            self.by_pointer.insert(pointer.clone(), *resource);
            self.resources.push(Resource { uri: String::new(), pointer });
        }
        if self.by_uri.insert(uri.clone(), *resource).is_some() {
            return refuse(&place(), TWICE);
        }
        self.resources[*resource].uri = uri;
        Ok(())
    }
}

fn pointer(tokens: &Tokens<'_>) -> String {
    tokens.iter().map(|token| format!("/{}", escape(token))).collect()
}
