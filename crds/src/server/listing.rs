//! What `tools/list` shows of a tool beside its name, its description and its schemas.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hints about a tool's calls, for clients that ask their users before a call. `readOnlyHint` follows from `effect`. A hint that is not
/// set is not sent, and clients assume its default.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    /// Whether the tool may delete or overwrite data, or only adds some. Clients assume `true` of a tool that writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// Whether a second call with the same arguments has no further effect. Clients assume `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// Whether the tool reaches things that its server does not own, such as web pages. Clients assume `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

/// An icon that clients may show to their users (revision 2025-11-25 and later).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Icon {
    /// An `https` URL, or an image as a `data` URI in base64, such as `data:image/png;base64,…`. All icons of a server may have 128 KiB
    /// together.
    #[schemars(
        length(min = 1, max = 8192),
        regex(pattern = r"^(https://[^/\s]\S*|data:image/[a-z0-9.+-]+;base64,[A-Za-z0-9+/]+=*)$")
    )]
    pub src: String,
    /// The media type of the image, if it does not follow from `src`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^image/[a-z0-9.+-]+$"))]
    pub mime_type: Option<String>,
    /// The sizes for which the icon is made, such as `48x48`, or `any`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 16), regex(pattern = r"^([1-9][0-9]{0,4}x[1-9][0-9]{0,4}|any)$")))]
    pub sizes: Vec<String>,
    /// The background for which the icon is made. If this field is not set, it is made for both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theme: Option<Theme>,
}

/// A background.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}
