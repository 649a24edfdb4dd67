//! The schema of what a tool answers with.

use serde_json::{Map, Value};

use super::{Budget, Exhausted, InputSchema, Instance, Steps, Violation};

/// A compiled schema of a tool's structured content.
#[derive(Clone, Debug)]
pub struct OutputSchema(InputSchema);

impl OutputSchema {
    /// Compiles a schema, with what is left of the budget.
    ///
    /// # Errors
    /// Returns why the schema is refused, as the message of a finding.
    pub fn compile(schema: &Map<String, Value>, budget: &mut Budget) -> Result<Self, String> {
        if schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err("must have `type: object`: the structured content of a result is an object".into());
        }
        InputSchema::compile(schema, budget).map(Self)
    }

    /// Checks structured content, and returns the first violation.
    ///
    /// # Errors
    /// Returns an error if the steps do not suffice to decide.
    pub fn check(&self, content: &Instance, steps: Steps) -> Result<Result<(), Violation>, Exhausted> {
        self.0.check(content, steps)
    }
}
