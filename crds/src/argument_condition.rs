//! A condition on the arguments of calls, as it is written in both resources.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::{
    json_object::JsonValue,
    name::{ConditionName, ToolName},
};

/// A condition on an argument of a tool: calls that do not meet it are denied. Exactly one of `in`, `prefix`, and `minimum` with
/// `maximum` is set. An argument that is absent, or of another type, does not meet it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
// CEL does not see `in`, whose values have several types: that it is not set beside another one is checked by the operator.
#[x_kube(validation = Rule::new("!has(self.prefix) || !(has(self.minimum) || has(self.maximum))").message("exactly one of in, prefix, and minimum with maximum must be set"))]
pub struct ArgumentCondition {
    /// The name by which the audit log records that it was not met.
    pub name: ConditionName,
    /// The tool.
    pub tool: ToolName,
    /// The argument: a JSON pointer (RFC 6901), such as `/region`. Of a list every item must meet the condition, and there must be one;
    /// the pointer goes on in each item and has no indexes.
    #[schemars(length(min = 2, max = 256), regex(pattern = "^(/([^/~]|~[01])+)+$"))]
    pub argument: String,
    /// The values that the argument may have: texts, numbers, and booleans. They are compared as JSON: `1` is `1.0` and not `"1"`.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub one_of: Option<Vec<JsonValue>>,
    /// What the argument begins with. A value with a segment `.` or `..`, or with percent-encoding, does not meet the condition: what
    /// decodes or resolves it could make something else of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub prefix: Option<String>,
    /// The lowest number that the argument may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Number>,
    /// The highest number that the argument may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Number>,
}
