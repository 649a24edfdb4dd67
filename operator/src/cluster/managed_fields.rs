//! Which fields of an object the operator owns, from `metadata.managedFields` (Kubernetes API, FieldsV1).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// The field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "portcullis-operator";

/// The sets of fields that a field manager owns, by Apply or by Update, without those of subresources.
pub fn owned_fields<'a>(live: &'a Value, manager: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    entries(live).filter(move |entry| is_of(entry, manager)).filter_map(|entry| entry["fieldsV1"].as_object())
}

/// Whether a field manager ever wrote the object.
pub fn is_managed_by(live: &Value, manager: &str) -> bool {
    entries(live).any(|entry| is_of(entry, manager))
}

/// The managedFields of an object that `manager` created with POST, as if it had applied the object; `None` if that is how they
/// are already.
///
/// The entry of a POST is an Update, and a server-side apply removes only what an earlier apply set.
pub fn as_applied(live: &Value, manager: &str) -> Option<Value> {
    let (ours, others): (Vec<_>, Vec<_>) = entries(live).cloned().partition(|entry| is_of(entry, manager));
    if ours.iter().all(|entry| entry["operation"] == "Apply") {
        return None;
    }
    let mut fields = json!({});
    ours.iter().for_each(|entry| merge(&mut fields, &entry["fieldsV1"]));
    let mut entry = ours.into_iter().next()?;
    entry["operation"] = json!("Apply");
    entry["fieldsV1"] = fields;
    Some(std::iter::once(entry).chain(others).collect())
}

/// What other field managers own of one field, item or object, by their name.
pub struct Owners<'a>(Vec<(&'a str, &'a Value)>);

impl<'a> Owners<'a> {
    /// Who owns what of an object, without `us`. A subresource such as `scale` counts.
    pub fn of_others(live: &'a Value, us: &str) -> Self {
        let entries = entries(live).filter_map(|entry| Some((entry["manager"].as_str()?, entry.get("fieldsV1")?)));
        Self(entries.filter(|(manager, _)| *manager != us).collect())
    }

    /// Who owns a field of it.
    pub fn field(&self, name: &str) -> Self {
        let name = format!("f:{name}");
        self.below(|fields| fields.get(&name))
    }

    /// Who owns this item of it.
    pub fn item(&self, item: &Value) -> Self {
        let is_it = |path: &str| {
            let Some(keys) = path.strip_prefix("k:") else { return false };
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            !keys.is_empty() && keys.iter().all(|(name, value)| item.get(name) == Some(value))
        };
        self.below(|fields| fields.iter().find(|(path, _)| is_it(path)).map(|(_, below)| below))
    }

    pub fn names(&self) -> BTreeSet<String> {
        self.0.iter().map(|(manager, _)| (*manager).to_owned()).collect()
    }

    fn below(&self, find: impl Fn(&'a Map<String, Value>) -> Option<&'a Value>) -> Self {
        let below = |(manager, fields): &(&'a str, &'a Value)| {
            let all = fields.as_object()?;
            // What has nothing below it is owned as a whole.
            let found = if all.is_empty() { Some(*fields) } else { find(all) };
            found.map(|found| (*manager, found))
        };
        Self(self.0.iter().filter_map(below).collect())
    }
}

fn entries(live: &Value) -> impl Iterator<Item = &Value> {
    live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

fn is_of(entry: &Value, manager: &str) -> bool {
    entry["manager"] == manager && entry["subresource"].as_str().unwrap_or_default().is_empty()
}

fn merge(into: &mut Value, from: &Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        for (name, from) in from {
            merge(into.entry(name.clone()).or_insert_with(|| json!({})), from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_of_a_post_becomes_an_apply_and_the_others_stay() {
        let entry = |manager: &str, operation: &str, subresource: &str| json!({"manager": manager, "operation": operation, "subresource": subresource, "fieldsV1": {"f:spec": {}}});
        let others = [entry("kubectl", "Update", ""), entry("us", "Update", "status")];
        let object = |operation: &str| {
            let ours = entry("us", operation, "");
            json!({"metadata": {"managedFields": [others[0], ours, others[1]]}})
        };
        let expected = json!([entry("us", "Apply", ""), others[0], others[1]]);
        assert_eq!(as_applied(&object("Update"), "us"), Some(expected));
        assert_eq!(as_applied(&object("Apply"), "us"), None);
        assert_eq!(as_applied(&json!({}), "us"), None);
    }
}
