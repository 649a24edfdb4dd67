//! The reference pages, printed from the schemas of the types and from the vocabularies, so that they are never out of date.

mod contract;
mod fields;
mod resources;

pub use contract::contract;
pub use resources::resources;

/// A row of a Markdown table.
fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('\n', " ").replace('|', "\\|")).collect();
    page.push_str(&format!("| {} |\n", cells.join(" | ")));
}
