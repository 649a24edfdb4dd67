//! What can be read of a document that cannot be read as a whole: each part that is not broken, by itself.
//!
//! A document in block style has its top-level fields, and those of its `spec`, in lines of their own. What is read here is what is
//! written there; it must only ever take something away. Where a part cannot be read, or a key appears twice with different values,
//! a text stands, so that a part which cannot be read is told from one that is absent. It stands for a key that cannot be read, too.

use serde_json::{Map, Value};

use super::tolerant::{OnFlaw, UNREADABLE, documents};

/// The fields of a document as far as they can be read; `None` if that is nothing, or if it has no names for what is in it.
pub(super) fn salvage(text: &str) -> Option<Map<String, Value>> {
    let read = read(text).or_else(|| {
        let fields = sections(text, 0)?;
        let mut specs = fields.iter().filter(|(key, _)| key == "spec");
        if let (Some((_, spec)), None) = (specs.next(), specs.next())
            && read(spec).is_none()
        {
            let inner = spec.split_once('\n').map_or("", |(_, inner)| inner);
            let spec = inner.lines().find_map(indentation).and_then(|indent| sections(inner, indent));
            if spec.is_some() {
                return Some(joined(fields.iter().filter(|(key, _)| key != "spec"), spec));
            }
        }
        Some(joined(fields.iter(), None))
    });
    match read {
        Some(Value::Object(fields)) if !fields.is_empty() => Some(fields),
        _ => None,
    }
}

/// The name of the first field that cannot be read, with that of the `spec` before it.
pub(super) fn first_unreadable(fields: &Map<String, Value>) -> Option<String> {
    let is_unreadable = |value: &Value| value == UNREADABLE;
    let inner = fields.get("spec").and_then(Value::as_object).into_iter().flatten();
    let inner = inner.map(|(key, value)| (format!("spec.{key}"), value));
    let all = fields.iter().map(|(key, value)| (key.clone(), value)).chain(inner);
    all.filter(|(_, value)| is_unreadable(value)).map(|(key, _)| key).next()
}

/// The fields, each read by itself.
fn joined<'a>(fields: impl Iterator<Item = &'a (String, String)>, spec: Option<Vec<(String, String)>>) -> Value {
    let mut whole = Map::new();
    for (name, section) in fields {
        let (key, value) = field(name, section);
        insert(&mut whole, key, value);
    }
    if let Some(spec) = spec {
        insert(&mut whole, "spec".into(), joined(spec.iter(), None));
    }
    Value::Object(whole)
}

/// The field that a section consists of, whose line begins with this name.
fn field(name: &str, section: &str) -> (String, Value) {
    if let Some(Value::Object(fields)) = read(section)
        && fields.len() == 1
        && let Some(field) = fields.into_iter().next()
    {
        return field;
    }
    let is_written_otherwise = name.starts_with(['!', '&', '*', '?']) || name.contains('\\');
    (if is_written_otherwise { UNREADABLE } else { name }.to_owned(), unreadable())
}

fn unreadable() -> Value {
    UNREADABLE.into()
}

/// Of two different values of one key neither counts.
fn insert(fields: &mut Map<String, Value>, key: String, value: Value) {
    let value = match fields.remove(&key) {
        Some(before) if before != value => unreadable(),
        _ => value,
    };
    fields.insert(key, value);
}

/// The lines of each field that begins at this indentation, by the field's name. `None` if other lines come before the first, as in
/// flow style.
fn sections(text: &str, indent: usize) -> Option<Vec<(String, String)>> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let is_marker = line.starts_with("---") || line.starts_with("...");
        if is_marker {
            continue;
        }
        match (indentation(line), sections.last_mut()) {
            (Some(at), _) if at == indent && !line[at..].starts_with(['-', ':']) => {
                let name = line[at..].split(':').next().unwrap_or_default().trim();
                let name = name.trim_matches(|c| c == '"' || c == '\'');
                sections.push((name.to_owned(), line.to_owned()));
            }
            (Some(_) | None, Some((_, section))) => section.push_str(line),
            (Some(_), None) => return None,
            (None, None) => {}
        }
    }
    Some(sections)
}

/// How far a line is indented; `None` if it is empty, a comment, or indented by tabs, which YAML does not allow.
fn indentation(line: &str) -> Option<usize> {
    let text = line.trim_start_matches(' ');
    let is_content = !text.trim().is_empty() && !text.starts_with(['#', '\t']);
    is_content.then(|| line.len() - text.len())
}

/// Whether nothing but flaws may be wrong with a text.
pub(super) fn is_readable(text: &str) -> bool {
    read(text).is_some()
}

/// Reads a text, or the null that an empty one is.
fn read(text: &str) -> Option<Value> {
    let (mut documents, _) = documents(text, OnFlaw::Mark).ok()?;
    let first = documents.pop().unwrap_or_default();
    documents.is_empty().then_some(first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_part_that_is_not_broken_is_read_by_itself() {
        let whole = "kind: C\nmetadata: {name: a}\nspec:\n  access: [a]\n  suspended: true\n";
        let lost = UNREADABLE;
        for (from, to, expected) in [
            ("access: [a]", "access: [a", json!({"access": lost, "suspended": true})),
            ("access: [a]", "access:\n    - {a: [}\n", json!({"access": lost, "suspended": true})),
            ("access: [a]", "access: [a]\n  access: [b]", json!({"access": lost, "suspended": true})),
            ("access: [a]", "access: [a]\n  access: [a]", json!({"access": ["a"], "suspended": true})),
            ("access: [a]", "access: [{a: 1, a: 2}]", json!({"access": [{"a": lost}], "suspended": true})),
            ("access: [a]", "access:\n\t- a", json!({"access": lost, "suspended": true})),
            ("access: [a]", "access: 'a", json!({"access": lost, "suspended": true})),
            ("access: [a]", "access\n", json!({"access": lost, "suspended": true})),
            ("suspended: true", "suspended: true\n  suspended: false", json!({"access": ["a"], "suspended": lost})),
            ("access: [a]", "access:\n  - a\n  -\n   {", json!({"access": lost, "suspended": true})),
            ("suspended: true", "suspended: [true", json!({"access": ["a"], "suspended": lost})),
            (
                "suspended: true",
                "suspended: true\n# end\n  x: !a {",
                json!({"access": ["a"], "suspended": true, "x": lost}),
            ),
            ("  access: [a]\n", "  access: [a]\n      x: 1\n", json!({"access": lost, "suspended": true})),
            ("spec:\n", "spec: {\n", json!({"access": ["a"], "suspended": true})),
            ("access: [a]", "access: [a\n  !x b: 1", json!({"access": lost, "suspended": true, lost: lost})),
            ("access: [a]", "access: [a\n  !x b: [", json!({"access": lost, "suspended": true, lost: lost})),
            ("access: [a]", "a: [\n  ? \"b\\u0065\"\n  : 1", json!({"a": lost, "suspended": true, "be": 1})),
            ("access: [a]", "a: [\n  \"b\\u0065\": {", json!({"a": lost, "suspended": true, lost: lost})),
            ("suspended: true", "!x suspended: true", json!({"access": ["a"], lost: lost})),
        ] {
            let text = whole.replace(from, to);
            assert_ne!(text, whole);
            let expected = json!({"kind": "C", "metadata": {"name": "a"}, "spec": expected});
            assert_eq!(salvage(&text).map(Value::Object), Some(expected), "{to}");
        }
        for (text, expected) in [
            ("kind: C\nkind: C\nspec: [\n", json!({"kind": "C", "spec": lost})),
            ("kind: C\nkind: D\n", json!({"kind": lost})),
            ("{kind: C, spec: {suspended: true, suspended: false}}", json!({"kind": "C", "spec": {"suspended": lost}})),
            ("\u{feff}---\n# x\nkind: C\n{\n", json!({"kind": "C", "{": lost})),
        ] {
            assert_eq!(salvage(text).map(Value::Object), Some(expected), "{text}");
        }
        for nothing in ["", "{a: [", "  x: [\na: 1", "- a: [", "\u{fffd}\u{fffd}["] {
            assert_eq!(salvage(nothing).filter(|fields| fields.contains_key("kind")), None, "{nothing}");
        }
    }

    #[test]
    fn the_first_field_that_cannot_be_read_is_named() {
        let first = |text: &str| first_unreadable(&salvage(text).unwrap());
        assert_eq!(first("kind: C\nspec:\n  a: 1\n  b: [\n"), Some("spec.b".into()));
        assert_eq!(first("kind: C\nmetadata: {\nspec:\n  a: 1\n"), Some("metadata".into()));
        let deep = format!("kind: C\nspec:\n  a: {}1{}\n  b: 2\n", "[".repeat(200), "]".repeat(200));
        assert_eq!(first(&deep), Some("spec.a".into()));
    }
}
