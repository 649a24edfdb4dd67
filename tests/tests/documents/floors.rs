//! The top-level modules of each crate import each other as docs/architecture.md says: without circles, and only downwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::root;

/// The modules that each module imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_modules_import_each_other_in_a_circle() {
    for name in ["crds", "operator", "server"] {
        let mut imports = imports(&root().join(name).join("src"));
        // What imports nothing that is left is in no circle.
        while let Some(module) = imports.iter().find(|(_, of)| of.iter().all(|it| !imports.contains_key(it))) {
            let module = module.0.clone();
            imports.remove(&module);
        }
        assert_eq!(imports, Imports::new(), "modules of {name} that are in a circle, or import one that is");
    }
}

#[test]
fn modules_import_only_from_floors_below_their_own() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    for name in ["operator", "server"] {
        let floors = floors(&page, &format!("| floor of `{name}/src` |"));
        let mut wrong = Vec::new();
        for (module, imported) in imports(&root().join(name).join("src")) {
            let Some(floor) = floors.get(&module) else {
                wrong.push(format!("{module} has no floor"));
                continue;
            };
            let upward = imported.iter().filter(|it| floors.get(*it).is_none_or(|below| below <= floor));
            wrong.extend(upward.map(|it| format!("{module} imports {it}")));
        }
        assert_eq!(wrong, [] as [&str; 0], "{name}");
    }
}

#[test]
fn imports_are_read_from_use_declarations_and_paths_outside_of_tests() {
    let text = "\
use crate::{
    a::{B, c::D}, // crate::comment
    e,
};
use crate::f;
fn g() { crate::h::i() }
#[cfg(test)]
mod tests {
    use crate::j;
}
";
    assert_eq!(imported(text), ["a", "e", "f", "h"].map(str::to_owned).into());
}

/// The number of each module in the table with this header. The second cell has its modules as code spans.
fn floors(page: &str, header: &str) -> BTreeMap<String, u32> {
    let rows =
        page.lines().skip_while(|line| !line.starts_with(header)).skip(2).take_while(|line| line.starts_with('|'));
    let mut floors = BTreeMap::new();
    for row in rows {
        let mut cells = row.split('|').skip(1);
        let number = cells.next().unwrap().trim().parse().unwrap();
        let modules = cells.next().unwrap().split('`').skip(1).step_by(2);
        floors.extend(modules.map(|module| (module.trim_end_matches('/').trim_end_matches(".rs").to_owned(), number)));
    }
    floors
}

/// The imports between the top-level modules in a folder of sources, without those of tests.
fn imports(sources: &Path) -> Imports {
    let mut imports = Imports::new();
    let mut files = vec![];
    let mut folders = vec![sources.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() && name != "tests" {
                folders.push(entry.path());
            } else if name.ends_with(".rs") && !["tests.rs", "fixtures.rs", "testing.rs"].contains(&&*name) {
                files.push(entry.path());
            }
        }
    }
    for file in files {
        let top = file.strip_prefix(sources).unwrap().components().next().unwrap();
        let module = top.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if !["lib", "main"].contains(&&*module) {
            imports.entry(module).or_default().extend(imported(&fs::read_to_string(file).unwrap()));
        }
    }
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for (module, imported) in &mut imports {
        imported.retain(|it| it != module && modules.contains(it));
    }
    imports
}

/// The first names after `crate::`, outside of comments and tests.
fn imported(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String = code.lines().map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n").collect();
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => names.extend(first_names(group)),
            None => _ = names.insert(identifier(rest)),
        }
    }
    names
}

/// The first name of each item of a group, up to its closing brace.
fn first_names(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = vec![];
    let mut is_start = true;
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            c if is_start && !c.is_whitespace() => {
                names.push(identifier(&group[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
