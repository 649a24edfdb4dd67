//! Whether an object must be written: a leaf that we want is not the live leaf, or a leaf that we own is no longer wanted.
//!
//! Pure. What others add and own (a sidecar's label, a controller's annotation) is no difference. Ownership is read from
//! `metadata.managedFields` (Kubernetes API, FieldsV1: `f:` a field, `k:` a list item by its keys, `v:` a set's value, `.` the node).

use serde_json::{Map, Value, json};

/// What identifies an item of a list of objects, by the schema of the built-in kinds: the first of these that it has.
const ITEM_KEYS: &[&str] = &["uid", "mountPath", "containerPort", "name", "port"];
/// Lists of objects that are compared as a whole: the schema calls them atomic.
const ATOMIC_LISTS: &[&str] = &["sources", "items"];
/// Maps of quantities: the API server writes `0.5` as `500m`.
const QUANTITIES: &[&str] = &["limits", "requests"];

/// The first field by which `live` is not what `want` says, for the field manager `manager`; none where nothing has to be
/// written.
pub fn drift(want: &Value, live: &Value, manager: &str) -> Option<String> {
    // Items of a list come without their type.
    let mut content = want.clone();
    if let Some(fields) = content.as_object_mut() {
        fields.retain(|name, _| name != "apiVersion" && name != "kind");
    }
    let owned = owned_fields(live, manager);
    missing(&content, live, "").or_else(|| owned.iter().find_map(|owned| unwanted(owned, want, "")))
}

/// The first leaf of `want` that is not the live one.
fn missing(want: &Value, live: &Value, at: &str) -> Option<String> {
    match (want, live) {
        (Value::Object(want), Value::Object(live)) => want.iter().find_map(|(name, want)| {
            let at = field(at, name);
            match live.get(name) {
                None => (!is_empty(want)).then_some(at),
                Some(live) if ATOMIC_LISTS.contains(&name.as_str()) => (want != live).then_some(at),
                Some(live) if QUANTITIES.contains(&name.as_str()) => (!are_quantities_within(want, live)).then_some(at),
                Some(live) => missing(want, live, &at),
            }
        }),
        (Value::Array(want), Value::Array(live)) if want.first().and_then(item_key).is_some() => {
            want.iter().find_map(|item| {
                let at = format!("{at}[{}]", item_key(item).map(|(_, key)| key.to_string()).unwrap_or_default());
                match live.iter().find(|live| is_same_item(item, live)) {
                    Some(live) => missing(item, live, &at),
                    None => Some(at),
                }
            })
        }
        (want, live) if want == live || (is_empty(want) && is_empty(live)) => None,
        _ => Some(at.to_owned()),
    }
}

fn field(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// An empty object or list and none at all are one to the API server.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn are_quantities_within(want: &Value, live: &Value) -> bool {
    let (Some(want), Some(live)) = (want.as_object(), live.as_object()) else { return want == live };
    want.iter().all(|(name, want)| {
        live.get(name)
            .is_some_and(|live| want == live || quantity(want).is_some_and(|want| quantity(live) == Some(want)))
    })
}

/// A quantity in thousandths, rounded up as the API server does; none where it is none.
fn quantity(value: &Value) -> Option<f64> {
    let text = value.as_str()?;
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[number.len()..] {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        _ => return None,
    };
    // The number may have an exponent of its own, which Rust reads as Kubernetes does.
    Some((number.parse::<f64>().ok()? * factor * 1000.0).ceil())
}

fn item_key(item: &Value) -> Option<(&'static str, &Value)> {
    let item = item.as_object()?;
    ITEM_KEYS.iter().find_map(|name| item.get(*name).map(|value| (*name, value)))
}

fn is_same_item(want: &Value, live: &Value) -> bool {
    item_key(want).is_some_and(|(name, value)| live.get(name) == Some(value))
}

/// The sets of fields that the manager owns, by Apply or by Update; those of subresources are not ours to judge.
fn owned_fields<'a>(live: &'a Value, manager: &str) -> Vec<&'a Map<String, Value>> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let ours = entries.into_iter().flatten().filter(|entry| is_ours(entry, manager));
    ours.filter_map(|entry| entry["fieldsV1"].as_object()).collect()
}

fn is_ours(entry: &Value, manager: &str) -> bool {
    entry["manager"] == manager && entry["subresource"].as_str().unwrap_or_default().is_empty()
}

/// The first field that is owned and not wanted.
fn unwanted(owned: &Map<String, Value>, want: &Value, at: &str) -> Option<String> {
    owned.iter().find_map(|(path, below)| {
        let (wanted, at) = match path.split_once(':') {
            Some(("f", name)) => (want.get(name), field(at, name)),
            Some(("k", keys)) => (item_of(want, keys), format!("{at}[{keys}]")),
            Some(("v", value)) => {
                let item: Value = serde_json::from_str(value).unwrap_or_default();
                (want.as_array().and_then(|items| items.iter().find(|it| **it == item)), format!("{at}[{value}]"))
            }
            // `.` is the node itself, which was found to be wanted; an index has no meaning outside of its time.
            _ => return None,
        };
        match (wanted, below.as_object()) {
            (Some(wanted), Some(below)) => unwanted(below, wanted, &at),
            (Some(_), None) => None,
            (None, _) => Some(at),
        }
    })
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

/// The managedFields of an object that we made with POST, as if we had applied it; none where they are so already.
///
/// The POST's entry says Update, and a server-side apply prunes only what an earlier apply set.
pub fn as_applied(live: &Value, manager: &str) -> Option<Value> {
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let (ours, others): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(|entry| is_ours(entry, manager));
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

    const US: &str = "portcullis-operator";

    fn live(operation: &str, owned: Value) -> Value {
        json!({
            "metadata": {
                "name": "crm", "labels": {"ours": "1", "theirs": "2"}, "uid": "u",
                "managedFields": [
                    {"manager": US, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": owned},
                    {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}},
                    {"manager": US, "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {"f:x": {}}}},
                ],
            },
            "spec": {
                "clusterIP": "10.0.0.1",
                "ports": [{"name": "mcp", "port": 3000, "protocol": "TCP"}, {"name": "extra", "port": 1, "protocol": "TCP"}],
            },
        })
    }

    fn want() -> Value {
        json!({
            "metadata": {"name": "crm", "labels": {"ours": "1"}, "annotations": {}},
            "spec": {"ports": [{"name": "mcp", "port": 3000}]},
        })
    }

    fn owned() -> Value {
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:ours": {}}},
            "f:spec": {"f:ports": {".": {}, "k:{\"port\":3000,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}}},
        })
    }

    #[test]
    fn what_others_add_is_no_difference() {
        assert_eq!(None, drift(&want(), &live("Apply", owned()), US));
    }

    #[test]
    fn each_changed_leaf_is_a_difference() {
        for (pointer, value) in [
            ("/metadata/labels/ours", json!("2")),
            ("/metadata/labels/ours", Value::Null),
            ("/spec/ports/0/port", json!(3001)),
            ("/spec/ports", json!([])),
        ] {
            let mut live = live("Apply", owned());
            *live.pointer_mut(pointer).unwrap() = value;
            assert_ne!(None, drift(&want(), &live, US), "{pointer}");
        }
    }

    #[test]
    fn what_we_own_and_no_longer_want_is_a_difference_however_it_was_written() {
        for operation in ["Apply", "Update"] {
            let mut wanted = want();
            wanted["metadata"]["labels"] = json!({});
            assert_ne!(None, drift(&wanted, &live(operation, owned()), US));
            let mut wanted = want();
            wanted["spec"]["ports"] = json!([{"name": "mcp", "port": 4000}]);
            assert_ne!(None, drift(&wanted, &live(operation, owned()), US));
        }
    }

    #[test]
    fn a_quantity_in_other_words_is_no_difference() {
        let pod = |cpu: &str, memory: &str| json!({"resources": {"limits": {"cpu": cpu, "memory": memory}}});
        assert_eq!(None, drift(&pod("0.5", "1024Mi"), &pod("500m", "1Gi"), US));
        assert_ne!(None, drift(&pod("0.5", "1024Mi"), &pod("501m", "1Gi"), US));
        assert_ne!(
            None,
            drift(&pod("half", "1Gi"), &pod("some", "1Gi"), US),
            "what is no quantity is compared as it is"
        );
    }

    #[test]
    fn a_posts_entry_becomes_an_apply_and_the_others_stay() {
        let posted = live("Update", owned());
        let rewritten = as_applied(&posted, US).unwrap();
        let mut expected = posted.pointer("/metadata/managedFields").unwrap().clone();
        expected[0]["operation"] = json!("Apply");
        assert_eq!(rewritten, expected);
        assert_eq!(as_applied(&live("Apply", owned()), US), None);
    }
}
