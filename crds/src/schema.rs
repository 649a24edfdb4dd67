//! The JSON Schemas of a tool's arguments and of its structured content (drafts 2020-12 and 7), compiled and checked within budgets.
//!
//! A schema is written by one party and its input by another one, and neither may cost others anything: what is compiled draws on
//! one budget for all tools of a server, and each check takes a bounded number of steps. References stay inside the document, and
//! regular expressions are matched in linear time.

mod compile;
mod equality;
mod evaluate;
mod format;
mod instance;
mod node;
mod number;
mod output;
mod pattern;
mod property;
mod steps;

use std::sync::Arc;

use serde_json::{Map, Value};

pub use instance::{Instance, Json, Shape};
pub use number::Number;
pub use output::OutputSchema;
use pattern::Patterns;
pub use property::WholeNumbers;
pub use steps::{Exhausted, Steps};

/// The maximum size of a schema in bytes, as JSON without white space.
pub const MAX_BYTES: usize = 64 * 1024;

/// A compiled schema of a tool's arguments.
#[derive(Clone, Debug)]
pub struct InputSchema {
    nodes: Arc<[node::Node]>,
}

/// What the schemas of a server may take together, in memory and in time to compile.
#[derive(Debug)]
pub struct Budget {
    nodes_left: usize,
    patterns: Patterns,
}

/// Why arguments are refused. The texts contain what the schema has, never a value that was sent, nor a name that the schema lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The keyword of the schema that refuses them, such as `maxLength`.
    pub keyword: &'static str,
    /// Where in the arguments, as a JSON pointer, which is cut if it is long. `*` stands for a name that the schema lacks.
    pub instance_path: String,
    /// Where in the schema, as a JSON pointer, which is cut if it is long.
    pub schema_path: String,
    /// What is to be mended: this violation and the next ones, as far as they were found.
    pub message: String,
}

/// Whether a schema is of draft 7. One whose dialect is not supported is refused, and is none of it.
pub(crate) fn is_draft_7(schema: &Map<String, Value>) -> bool {
    compile::is_draft_7(schema.get("$schema")).unwrap_or(false)
}

/// A pointer or a reference as messages and records have it: what is long is cut.
fn shortened(text: &str) -> String {
    /// In bytes.
    const LONGEST: usize = 512;
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONGEST)])
}

impl Budget {
    /// How many keywords, names and values of `enum` all schemas may have together: less than 16 MiB.
    const NODES: usize = 128 * 1024;
}

impl Default for Budget {
    fn default() -> Self {
        Self { nodes_left: Self::NODES, patterns: Patterns::default() }
    }
}

impl Budget {
    /// Whether a text that matches the pattern has at most so many characters, all of them of classes of at most `widest`
    /// characters. `false` if the pattern cannot be compiled with what is left of the budget.
    pub(crate) fn is_closed_pattern(&mut self, pattern: &str, longest: usize, widest: usize) -> bool {
        self.patterns.compile(pattern).is_ok_and(|pattern| pattern.is_closed(longest, widest))
    }
}

impl InputSchema {
    /// Compiles a schema, with what is left of the budget.
    ///
    /// # Errors
    /// Returns why the schema is refused, as the message of a finding.
    pub fn compile(schema: &Map<String, Value>, budget: &mut Budget) -> Result<Self, String> {
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err("must have `type: object`: MCP passes arguments by name".into());
        }
        let schema = Value::Object(schema.clone());
        let bytes = schema.to_string().len();
        if bytes > MAX_BYTES {
            return Err(format!("has {bytes} bytes; at most {MAX_BYTES} are allowed"));
        }
        let nodes = compile::compile(&schema, budget).map_err(|compile::Refused { pointer, message }| {
            format!("is not a JSON Schema that can be compiled: at `{pointer}`: {message}")
        })?;
        Ok(Self { nodes: nodes.into() })
    }

    /// Checks arguments, and returns the first violation, with what is to be mended.
    ///
    /// # Errors
    /// Returns an error if the steps do not suffice to decide.
    pub fn check(&self, arguments: &Instance, steps: Steps) -> Result<Result<(), Violation>, Exhausted> {
        evaluate::Evaluation::new(&self.nodes, arguments, steps).run()
    }
}

#[cfg(test)]
mod tests;
