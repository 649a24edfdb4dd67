//! Whether an object must be written: a field that is wanted has another value in the cluster, or a field that the operator
//! owns is no longer wanted.
//!
//! Pure. What others add and own (a sidecar's label, a controller's annotation) is not drift.

use portcullis_crds::quantity::Quantity;
use serde_json::{Map, Value};

use super::{
    field_path::{FieldPath, Found},
    managed_fields::owned_fields,
};

/// How the lists of objects in a kind are compared, in addition to the rules for the kinds of Kubernetes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListRules {
    /// Fields that identify the item of a list, before [`ITEM_KEYS`].
    pub item_keys: &'static [&'static str],
    /// Lists that are compared as a whole, beside [`ATOMIC_LISTS`].
    pub atomic: &'static [&'static str],
}

impl ListRules {
    /// The rules for the kinds of Kubernetes itself, and no others.
    pub const BUILT_IN: Self = Self { item_keys: &[], atomic: &[] };

    /// The field that identifies an item, and its value: the first of the keys that the item has.
    pub(super) fn item_key(self, item: &Value) -> Option<(&'static str, &Value)> {
        let item = item.as_object()?;
        self.item_keys.iter().chain(ITEM_KEYS).find_map(|name| item.get(*name).map(|value| (*name, value)))
    }

    pub(super) fn is_atomic(self, list: &str) -> bool {
        self.atomic.contains(&list) || ATOMIC_LISTS.contains(&list)
    }
}

/// What identifies an item of a list of objects, by the schema of the built-in kinds.
const ITEM_KEYS: &[&str] = &["uid", "mountPath", "containerPort", "name", "port", "topologyKey"];
/// Lists of objects that the schema of the built-in kinds calls atomic.
const ATOMIC_LISTS: &[&str] = &["sources", "items"];
/// Maps of quantities: the API server writes `0.5` as `500m`.
pub(super) const QUANTITIES: &[&str] = &["limits", "requests"];

/// The fields that have drifted from `want` in `live`, for the field manager `manager`; none if nothing must be written.
pub fn drift(want: &Value, live: &Value, manager: &str, lists: ListRules) -> Vec<FieldPath> {
    let mut found: Vec<FieldPath> = changed(want, live, lists).into_iter().map(|found| found.field).collect();
    owned_fields(live, manager).for_each(|owned| unwanted(owned, want, &FieldPath::default(), &mut found));
    found
}

/// The fields of `want` that have another value in `live`.
pub fn changed<'a>(want: &Value, live: &'a Value, lists: ListRules) -> Vec<Found<'a>> {
    // The items of a list come without their type.
    let mut content = want.clone();
    if let Some(fields) = content.as_object_mut() {
        fields.retain(|name, _| name != "apiVersion" && name != "kind");
    }
    let mut found = Vec::new();
    missing(&content, live, &FieldPath::default(), lists, &mut found);
    found
}

fn missing<'a>(want: &Value, live: &'a Value, at: &FieldPath, lists: ListRules, found: &mut Vec<Found<'a>>) {
    let differs = |field: &FieldPath, live: Option<&'a Value>| Found { field: field.clone(), live };
    match (want, live) {
        (Value::Object(want), Value::Object(live)) => {
            for (name, want) in want {
                let at = at.field(name);
                let live = live.get(name);
                let is_same = match live {
                    None => is_empty(want),
                    Some(live) if lists.is_atomic(name) => want == live,
                    Some(live) if QUANTITIES.contains(&name.as_str()) => are_quantities_within(want, live),
                    Some(live) => {
                        missing(want, live, &at, lists, found);
                        continue;
                    }
                };
                found.extend((!is_same).then(|| differs(&at, live)));
            }
        }
        (Value::Array(want), list @ Value::Array(live))
            if want.first().and_then(|item| lists.item_key(item)).is_some() =>
        {
            for item in want {
                let Some((name, key)) = lists.item_key(item) else {
                    found.extend((!live.contains(item)).then(|| differs(at, Some(list))));
                    continue;
                };
                let at = at.item(name, key);
                match live.iter().find(|live| live.get(name) == Some(key)) {
                    Some(live) => missing(item, live, &at, lists, found),
                    None => found.push(differs(&at, None)),
                }
            }
        }
        (want, live) if want == live || (is_empty(want) && is_empty(live)) => {}
        (_, live) => found.push(differs(at, Some(live))),
    }
}

/// To the API server an empty object or list is the same as none.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

pub(super) fn are_quantities_within(want: &Value, live: &Value) -> bool {
    let (Some(want), Some(live)) = (want.as_object(), live.as_object()) else { return want == live };
    want.iter().all(|(name, want)| {
        live.get(name)
            .is_some_and(|live| want == live || quantity(want).is_some_and(|want| quantity(live) == Some(want)))
    })
}

/// An amount as the API server keeps it; `None` if the value is not one.
fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse::<Quantity>().ok().map(Quantity::in_thousandths)
}

/// The fields that are owned and no longer wanted.
fn unwanted(owned: &Map<String, Value>, want: &Value, at: &FieldPath, found: &mut Vec<FieldPath>) {
    for (path, below) in owned {
        // `f:` is a field, `k:` an item of a list by its keys, `v:` a value of a set.
        let (wanted, at) = match path.split_once(':') {
            Some(("f", name)) => (want.get(name), at.field(name)),
            Some(("k", keys)) => (item_of(want, keys), at.owned(keys)),
            Some(("v", value)) => {
                let item: Value = serde_json::from_str(value).unwrap_or_default();
                (want.as_array().and_then(|items| items.iter().find(|it| **it == item)), at.owned(value))
            }
            // `.` is the node itself, which was found to be wanted; an index means nothing once the list has changed.
            _ => continue,
        };
        match (wanted, below.as_object()) {
            (Some(wanted), Some(below)) => unwanted(below, wanted, &at, found),
            (Some(_), None) => {}
            (None, _) => found.push(at),
        }
    }
}

/// The item of a list that has all of these keys.
fn item_of<'a>(list: &'a Value, keys: &str) -> Option<&'a Value> {
    let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
    let has_key = |item: &Value, (name, value): (&String, &Value)| match item.get(name) {
        Some(found) => found == value,
        // A part of the key that the API server fills in.
        None => name == "protocol" && value == "TCP",
    };
    list.as_array()?.iter().find(|item| keys.iter().all(|key| has_key(item, key)))
}

#[cfg(test)]
mod tests;
