//! Where a field of an object is, for messages and to look up who owns it.

use std::{
    collections::BTreeSet,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::Value;

use super::managed_fields::Owners;

/// The path of a field, printed as `spec.ports[mcp].port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

/// A field that is not as it should be.
#[derive(Debug)]
pub struct Found<'a> {
    pub field: FieldPath,
    /// Its value in the cluster, if it has one there.
    pub live: Option<&'a Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    /// The item of a list whose field of this name has this value.
    Item(String, Value),
    /// An item as managedFields names it.
    Owned(String),
}

impl FieldPath {
    pub fn of_field(name: &str) -> Self {
        Self::default().field(name)
    }

    pub fn field(&self, name: &str) -> Self {
        self.with(Step::Field(name.to_owned()))
    }

    pub fn item(&self, key: &str, value: &Value) -> Self {
        self.with(Step::Item(key.to_owned(), value.clone()))
    }

    pub fn owned(&self, item: &str) -> Self {
        self.with(Step::Owned(item.to_owned()))
    }

    fn with(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// Whether it begins like this path, as far as the shorter of both goes. `*` is any item of a list.
    pub fn follows(&self, names: &[&str]) -> bool {
        self.0.iter().zip(names).all(|(step, name)| match step {
            Step::Field(field) => field == name,
            Step::Item(..) | Step::Owned(_) => *name == "*",
        })
    }

    /// Whether it is this path, or goes on from it.
    pub fn is_below(&self, names: &[&str]) -> bool {
        self.0.len() >= names.len() && self.follows(names)
    }

    /// The other field managers that own the field in `live`. This takes as long as `live` is large.
    pub fn other_managers(&self, live: &Value, us: &str) -> BTreeSet<String> {
        let (mut at, mut owners) = (live, Owners::of_others(live, us));
        for step in &self.0 {
            let next = match step {
                Step::Field(name) => at.get(name).map(|below| (below, owners.field(name))),
                Step::Item(key, value) => {
                    let item = at.as_array().and_then(|items| items.iter().find(|item| item.get(key) == Some(value)));
                    item.map(|item| (item, owners.item(item)))
                }
                Step::Owned(_) => None,
            };
            let Some(next) = next else { return BTreeSet::new() };
            (at, owners) = next;
        }
        owners.names()
    }
}

impl Found<'_> {
    /// Two values of the field have the same hash only if they are the same.
    pub fn hash_of_value(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.live.map(Value::to_string).hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if n == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(_, Value::String(value)) | Step::Owned(value) => write!(f, "[{value}]")?,
                Step::Item(_, value) => write!(f, "[{value}]")?,
            }
        }
        Ok(())
    }
}
