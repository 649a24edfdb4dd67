//! What `tools/list` shows of a tool beside its name, its description and its schemas.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hints about a tool's calls. What is absent is not sent, and clients assume its default.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    /// Whether the tool may delete or overwrite data, or only adds some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// Whether a second call with the same arguments has no further effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// Whether the tool reaches things that its server does not own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

/// An icon that clients may show to their users. One that is not valid is not sent.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Icon {
    /// An `https` URL, or an image as a `data` URI in base64.
    #[schemars(length(min = 1, max = 8192))]
    pub src: String,
    /// The media type of the image, if it does not follow from `src`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub mime_type: Option<String>,
    /// The sizes for which the icon is made, such as `48x48`, or `any`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 16)))]
    pub sizes: Vec<String>,
    /// The background for which the icon is made. If it is absent, it is made for both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theme: Option<Theme>,
}

/// A background.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}
