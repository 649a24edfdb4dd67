//! What another party added to an object of the operator's, where that is not allowed. Server-side apply leaves alone what others own,
//! and what mutating webhooks add is owned by nobody. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    drift::{ListRules, QUANTITIES, are_quantities_within, is_empty},
    field_path::{FieldPath, Found},
};

/// A part of an object in which additions of others are removed.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// The names of the fields that lead to it.
    pub at: &'static [&'static str],
    pub removes: Removes,
    /// What in it is no privilege whatever its value is, as paths like those of [`Removes::AllBut`].
    pub harmless: &'static [&'static [&'static str]],
}

impl Guard {
    /// Whether a change of a field that is wanted may be a privilege.
    pub fn covers(&self, field: &FieldPath) -> bool {
        let Removes::AllBut(allowed) = self.removes else { return false };
        let mut harmless = allowed.iter().chain(self.harmless).map(|path| [self.at, path].concat());
        field.follows(self.at) && !harmless.any(|path| field.is_below(&path))
    }
}

/// Which additions are removed.
#[derive(Clone, Copy, Debug)]
pub enum Removes {
    /// All but these, as paths below the part, with `*` for any item of a list. An addition is allowed with all that is in it.
    AllBut(&'static [&'static [&'static str]]),
    /// The fields whose names begin like one of these.
    Only(&'static [&'static str]),
}

/// What is to be removed.
#[derive(Debug, Default)]
pub struct Foreign<'a> {
    pub fields: Vec<Found<'a>>,
    /// The JSON merge patch that removes it. Of the lists in it, it has all that is to be in them.
    pub patch: Value,
}

/// What may give the pods a privilege: each field with a hash of its value, because what is changed in a container that is known
/// already is another one.
pub type Privileges = BTreeSet<(String, u64)>;

/// The additions to `live` that are not in `want`; `None` if there are none to be removed.
pub fn foreign<'a>(want: &Value, live: &'a Value, guards: &[Guard], lists: ListRules) -> Option<Foreign<'a>> {
    let mut found = Foreign { patch: json!({}), ..Foreign::default() };
    for guard in guards {
        let Some(live) = part(live, guard) else { continue };
        let want = part(want, guard).unwrap_or(&Value::Null);
        let at = guard.at.iter().fold(FieldPath::default(), |at, name| at.field(name));
        let before = found.fields.len();
        let clean = match guard.removes {
            Removes::AllBut(allowed) => {
                let allowed: Vec<Allowed<'_>> = allowed.to_vec();
                Cleaner { lists, found: &mut found.fields }.clean(want, live, &allowed, &at)
            }
            Removes::Only(names) => without(want, live, names, &at, &mut found.fields),
        };
        if found.fields.len() > before {
            let patch = guard.at.iter().rev().fold(difference(live, &clean), |below, name| json!({ *name: below }));
            merge(&mut found.patch, patch);
        }
    }
    (!found.fields.is_empty()).then_some(found)
}

fn part<'a>(object: &'a Value, guard: &Guard) -> Option<&'a Value> {
    guard.at.iter().try_fold(object, |it, name| it.get(name))
}

/// What is left of a path that is allowed.
type Allowed<'a> = &'a [&'a str];

struct Cleaner<'found, 'live> {
    lists: ListRules,
    found: &'found mut Vec<Found<'live>>,
}

impl<'live> Cleaner<'_, 'live> {
    /// `live` without the additions, and otherwise as it is wanted.
    fn clean(&mut self, want: &Value, live: &'live Value, allowed: &[Allowed<'_>], at: &FieldPath) -> Value {
        match (want, live) {
            (Value::Object(_) | Value::Null, Value::Object(live)) => self.clean_object(want, live, allowed, at),
            (Value::Array(items), Value::Array(live)) if self.is_keyed(items, live) => {
                self.clean_list(items, live, allowed, at)
            }
            _ => want.clone(),
        }
    }

    fn clean_object(
        &mut self,
        want: &Value,
        live: &'live Map<String, Value>,
        allowed: &[Allowed<'_>],
        at: &FieldPath,
    ) -> Value {
        let mut clean = want.as_object().cloned().unwrap_or_default();
        for (name, live) in live {
            let below: Vec<Allowed<'_>> =
                allowed.iter().filter(|path| path.first() == Some(&name.as_str())).map(|path| &path[1..]).collect();
            let is_allowed = below.iter().any(|rest| rest.is_empty());
            let at = at.field(name);
            let kept = match want.get(name) {
                Some(_) if self.lists.is_atomic(name) => continue,
                Some(want) if QUANTITIES.contains(&name.as_str()) && are_quantities_within(want, live) => live.clone(),
                Some(want) if is_allowed && want.is_object() => overlaid(want, live),
                None if is_allowed || is_empty(live) => live.clone(),
                Some(want) => self.clean(want, live, &below, &at),
                None if live.is_object() && !below.is_empty() => {
                    let kept = self.clean(&Value::Null, live, &below, &at);
                    if is_empty(&kept) { continue } else { kept }
                }
                None => {
                    self.found.push(Found { field: at, live: Some(live) });
                    continue;
                }
            };
            clean.insert(name.clone(), kept);
        }
        clean.into()
    }

    /// Each item that is wanted stands for one of the live ones: a second one of the same name is an addition, too.
    fn clean_list(&mut self, want: &[Value], live: &'live [Value], allowed: &[Allowed<'_>], at: &FieldPath) -> Value {
        let below: Vec<Allowed<'_>> =
            allowed.iter().filter(|path| path.first() == Some(&"*")).map(|path| &path[1..]).collect();
        let mut missing: Vec<&Value> = want.iter().collect();
        let mut clean = Vec::new();
        for item in live {
            let key = self.lists.item_key(item);
            let at = key.map_or_else(|| at.clone(), |(name, value)| at.item(name, value));
            let wanted = missing.iter().position(|wanted| {
                self.lists.item_key(wanted).is_some_and(|(name, value)| item.get(name) == Some(value))
                    || *wanted == item
            });
            match wanted {
                Some(wanted) => {
                    let wanted = missing.remove(wanted);
                    clean.push(self.clean(wanted, item, &below, &at));
                }
                None if below.iter().any(|rest| rest.is_empty()) => clean.push(item.clone()),
                None => self.found.push(Found { field: at, live: Some(item) }),
            }
        }
        clean.extend(missing.into_iter().cloned());
        clean.into()
    }

    fn is_keyed(&self, want: &[Value], live: &[Value]) -> bool {
        want.iter().chain(live).any(Value::is_object)
    }
}

/// `live` without the fields of these names that are not wanted.
fn without<'a>(want: &Value, live: &'a Value, names: &[&str], at: &FieldPath, found: &mut Vec<Found<'a>>) -> Value {
    let Some(fields) = live.as_object() else { return live.clone() };
    let is_kept = |(name, _): &(&String, &Value)| {
        want.get(name).is_some() || !names.iter().any(|prefix| name.starts_with(prefix))
    };
    let (kept, removed): (Vec<_>, Vec<_>) = fields.iter().partition(is_kept);
    found.extend(removed.into_iter().map(|(name, live)| Found { field: at.field(name), live: Some(live) }));
    kept.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `live` with what is wanted in the place of its own.
fn overlaid(want: &Value, live: &Value) -> Value {
    match (want, live) {
        (Value::Object(want), Value::Object(live)) => {
            let mut all = live.clone();
            for (name, want) in want {
                let value = live.get(name).map_or_else(|| want.clone(), |live| overlaid(want, live));
                all.insert(name.clone(), value);
            }
            all.into()
        }
        _ => want.clone(),
    }
}

/// The JSON merge patch that makes `to` of `from` (RFC 7396).
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let removed = from.keys().filter(|name| !to.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = to.iter().filter(|(name, to)| from.get(*name) != Some(to));
    let changed = changed
        .map(|(name, to)| (name.clone(), from.get(name).map_or_else(|| to.clone(), |from| difference(from, to))));
    Value::Object(removed.chain(changed).collect())
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, from) in from {
                merge(into.entry(name).or_insert(Value::Null), from);
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests;
