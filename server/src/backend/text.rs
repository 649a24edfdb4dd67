//! Templates filled in as text.

use portcullis_crds::template::{Part, Template};

use crate::protocol::strict::Node;

/// A template as text. An argument that is absent leaves nothing behind.
pub fn render(template: &Template, arguments: &Node<'_>) -> String {
    let mut out = String::new();
    for part in template.parts() {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Argument(name) => {
                if let Some(node) = arguments.get(name) {
                    out.push_str(node.as_str().unwrap_or(node.raw));
                }
            }
        }
    }
    out
}
