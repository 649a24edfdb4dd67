//! What happens when a task or a thread panics is documented for each place that starts one: nothing may be missing unnoticed.

use std::{collections::BTreeSet, fs, path::Path};

use super::root;

/// What starts a task or a thread.
const STARTS: [&str; 3] = ["spawn(", "spawn_on(", "spawn_blocking("];

#[test]
fn every_place_that_starts_a_task_is_in_the_table_of_what_happens_when_it_panics() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let rows = page.lines().skip_while(|line| !line.starts_with("| started in |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let documented: BTreeSet<String> = rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect();
    let mut found = BTreeSet::new();
    for name in ["operator/src", "server/src"] {
        collect(&root(), &root().join(name), &mut found);
    }
    assert_eq!(found, documented);
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            if name != "tests" {
                collect(root, &path, found);
            }
            continue;
        }
        if !name.ends_with(".rs") || ["tests.rs", "fixtures.rs", "testing.rs"].contains(&&*name) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if STARTS.iter().any(|start| code.contains(start)) {
            found.insert(path);
        }
    }
}
