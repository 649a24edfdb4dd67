//! Settings of a server: authentication, audit log and program log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults::is_default;

/// How callers are authenticated.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// Authentication by an API key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub api_key: ApiKeyAuthentication,
}

/// Authentication by API key.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyAuthentication {
    /// `Optional` accepts API keys; `Off` ignores them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: MethodMode,
    /// The header that a key is read from: `x-api-key` (`XApiKey`), `Authorization` with the scheme `Bearer` (`Bearer`), or the one of
    /// them that was sent (`Any`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub header: KeyHeader,
}

/// Where an API key is read from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyHeader {
    #[default]
    Any,
    XApiKey,
    Bearer,
}

/// Whether an authentication method is offered.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MethodMode {
    #[default]
    Optional,
    Off,
}

/// What is recorded about each call.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// `Shape` records the names, types and sizes of the declared arguments, but not their values. `None` records nothing about them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub arguments: AuditArguments,
    /// What happens to calls while audit records cannot be written: `Refuse` answers them with 503, `Drop` serves them and counts
    /// the lost records.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_overflow: OnOverflow,
}

/// What the audit log contains about a call's arguments.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditArguments {
    /// The names, types and sizes of the declared arguments.
    #[default]
    Shape,
    None,
}

/// What happens to calls while audit records cannot be written.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOverflow {
    /// Calls are refused with 503, before they have any effect.
    #[default]
    Refuse,
    /// Calls are served, and the lost records are counted.
    Drop,
}

/// The lowest severity that is logged.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

impl LogLevel {
    /// As `LOG_LEVEL` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}
