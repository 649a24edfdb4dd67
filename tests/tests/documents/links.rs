//! The documents name files and names that exist: relative links in every Markdown file, and paths in code spans.
//!
//! A code span is taken for a path of the repository if it begins with one of the top-level folders. In a table, the names in
//! parentheses directly after a path, such as `` `crds/src/lib.rs` (`GROUP`, `VERSION`) ``, must appear in that file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use super::root;

/// The folders at the top of the repository that documents may name.
const FOLDERS: [&str; 11] =
    [".ci", "charts", "crds", "docs", "examples", "healthcheck", "images", "operator", "scripts", "server", "tests"];
/// Folders without documents of this repository.
const SKIPPED: [&str; 5] = [".git", ".state", ".venv", "node_modules", "target"];

#[test]
fn every_link_and_every_path_in_the_documents_exists() {
    let root = root();
    let pages = pages(&root);
    let expected = ["README.md", "CONTRIBUTING.md", "docs/architecture.md"].map(PathBuf::from);
    assert!(expected.iter().all(|page| pages.contains_key(page)), "{:?}", pages.keys());
    let wrong: Vec<String> = pages.iter().flat_map(|(page, text)| problems(&root, page, text, &pages)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_wrong_link_path_heading_or_name_is_reported() {
    let text = "\
# A page
[a](README.md) [b](https://example.com) [c](#a-page) `crds/src/lib.rs` `crds/*.yaml` `make test`
[d](MISSING.md) [e](#missing) [f](page.md#missing) `crds/src/missing.rs`
| `crds/src/lib.rs` (`GROUP`), `make` | `crds/src/lib.rs` (`GROUP`, `VERSION` and `MISSING`) |
```
[g](IGNORED.md) `crds/src/ignored.rs`
```
";
    let page = PathBuf::from("page.md");
    let pages = BTreeMap::from([(page.clone(), text.to_owned())]);
    assert_eq!(
        problems(&root(), &page, text, &pages),
        [
            "page.md:3: MISSING.md does not exist",
            "page.md:3: #missing is not a heading",
            "page.md:3: page.md#missing is not a heading",
            "page.md:3: crds/src/missing.rs does not exist",
            "page.md:4: MISSING does not appear in crds/src/lib.rs",
        ]
    );
}

/// Every Markdown file, by its path in the repository.
fn pages(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().unwrap().is_dir() {
                if !SKIPPED.contains(&&*name) {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).unwrap();
                pages.insert(path.strip_prefix(root).unwrap().to_owned(), text);
            }
        }
    }
    pages
}

fn problems(root: &Path, page: &Path, text: &str, pages: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in prose(text) {
        let links = link_targets(line).filter_map(|target| wrong_link(root, page, target, pages));
        let found: Vec<String> = links.chain(wrong_paths(root, line)).collect();
        problems.extend(found.into_iter().map(|problem| format!("{}:{number}: {problem}", page.display())));
    }
    problems
}

/// The lines outside of code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((number, line))
    })
}

/// The targets of `[text](target)`.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

fn wrong_link(root: &Path, page: &Path, target: &str, pages: &BTreeMap<PathBuf, String>) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let folder = page.parent().unwrap_or(Path::new(""));
    let path = if file.is_empty() { page.to_owned() } else { normalized(&folder.join(file)) };
    if !pages.contains_key(&path) && !root.join(&path).exists() {
        return Some(format!("{target} does not exist"));
    }
    let is_heading = |heading| pages.get(&path).is_some_and(|text| headings(text).contains(heading));
    heading.is_some_and(|heading| !is_heading(heading)).then(|| format!("{target} is not a heading"))
}

/// The path without `..`.
fn normalized(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => _ = path.pop(),
            part => path.push(part),
        }
        path
    })
}

/// The anchors of a page's headings: lower case, spaces as hyphens, no other punctuation.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = prose(text).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| line.trim_start_matches('#'));
    let anchor = |title: &str| {
        let title = title.trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    titles.map(anchor).collect()
}

fn wrong_paths(root: &Path, line: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    // Code spans are the odd parts.
    let parts: Vec<&str> = line.split('`').collect();
    for (n, path) in parts.iter().enumerate().skip(1).step_by(2).filter(|(_, part)| is_path(part)) {
        let Ok(metadata) = fs::metadata(root.join(path)) else {
            wrong.push(format!("{path} does not exist"));
            continue;
        };
        if line.starts_with('|') && metadata.is_file() {
            let content = fs::read_to_string(root.join(path)).unwrap_or_default();
            let missing = names_after(&parts, n).filter(|name| !content.contains(name));
            wrong.extend(missing.map(|name| format!("{name} does not appear in {path}")));
        }
    }
    wrong
}

/// The code spans in parentheses directly after the code span at `path`.
fn names_after<'a>(parts: &'a [&'a str], path: usize) -> impl Iterator<Item = &'a str> {
    let pairs = parts.get(path + 1..).unwrap_or_default().chunks_exact(2).enumerate();
    let listed =
        pairs.take_while(|(n, pair)| if *n == 0 { pair[0] == " (" } else { matches!(pair[0], ", " | " and ") });
    listed.map(|(_, pair)| pair[1])
}

fn is_path(text: &str) -> bool {
    let is_below = |folder: &&str| text.strip_prefix(*folder).is_some_and(|rest| rest.starts_with('/'));
    FOLDERS.iter().any(is_below) && !text.contains(['*', ' ', '<', '…'])
}
