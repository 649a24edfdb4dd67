//! Names that are valid by construction: each is checked once, when it is parsed.

use std::{borrow::Borrow, borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The text is not a valid name. The message states what is allowed, and never contains the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(&'static str);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:literal, $pattern:literal, $is_valid:path, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub(crate) const PATTERN: &str = $pattern;
            /// The message of a finding.
            pub(crate) const ALLOWED: &str = $allowed;

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(value: String) -> Result<Self, NameError> {
                if value.len() <= $max && $is_valid(&value) { Ok(Self(value)) } else { Err(NameError($allowed)) }
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(value: &str) -> Result<Self, NameError> {
                Self::try_from(value.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "minLength": 1, "maxLength": $max, "pattern": $pattern})
            }
        }
    };
}

name!(
    /// The name of a tool, as MCP shows it to agents (specification 2025-11-25, Server Features, Tools, Tool Names).
    ToolName, 128, "^[A-Za-z0-9_.-]+$", is_tool_name,
    "must be 1 to 128 of the characters A-Z, a-z, 0-9, '_', '.', '-'"
);

name!(
    /// The name of a backend: a DNS label.
    BackendName, 63, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", is_label,
    "must be a DNS label: at most 63 of the characters a-z, 0-9, '-', with a letter or digit at both ends"
);

name!(
    /// The name of a header of HTTP: a token (RFC 9110 section 5.6.2) of characters that every program takes.
    HeaderName, 64, "^[A-Za-z0-9_-]+$", is_header_name,
    "must be 1 to 64 of the characters A-Z, a-z, 0-9, '_', '-'"
);

name!(
    /// A key of a Secret. It is also the name of a file.
    DataKey, 253, "^([-_a-zA-Z0-9]|[.][-_a-zA-Z0-9])[-._a-zA-Z0-9]*$", is_data_key,
    "must be at most 253 of the characters A-Z, a-z, 0-9, '-', '_', '.', and not begin with two dots"
);

name!(
    /// The name of a condition on arguments: a DNS label.
    ConditionName, 63, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", is_label,
    "must be a DNS label: at most 63 of the characters a-z, 0-9, '-', with a letter or digit at both ends"
);

name!(
    /// The name of a Kubernetes object: a DNS subdomain.
    ObjectName, 253, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", is_subdomain,
    "must be a DNS subdomain: at most 253 of the characters a-z, 0-9, '-', '.', with a letter or digit at both ends"
);

name!(
    /// The id of a client on one server: its name if it is in the server's namespace, otherwise `namespace/name`.
    /// A name cannot contain `/`, so the two forms cannot collide.
    ClientId, 317, "^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", is_client_id,
    "must be the name of an McpClient, or namespace/name"
);

impl ClientId {
    /// The id of an McpClient on a server in `server_namespace`.
    ///
    /// # Errors
    /// Returns an error if the client's namespace or name is not a valid name of a Kubernetes object.
    pub fn of(server_namespace: &str, client: &NamespacedName) -> Result<Self, NameError> {
        if client.namespace == server_namespace { client.name.parse() } else { client.to_string().parse() }
    }

    /// The McpClient that has this id on a server in `server_namespace`.
    pub fn resolve(&self, server_namespace: &str) -> NamespacedName {
        let (namespace, name) = self.0.split_once('/').unwrap_or((server_namespace, &self.0));
        NamespacedName::new(namespace, name)
    }
}

/// The namespace and name of an object, printed as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    pub namespace: String,
    pub name: String,
}

impl NamespacedName {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

fn is_tool_name(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_header_name(value: &str) -> bool {
    is_tool_name(value) && !value.contains('.')
}

/// As the API server admits keys, so that each is the name of a file.
fn is_data_key(value: &str) -> bool {
    is_tool_name(value) && value != "." && !value.starts_with("..")
}

fn is_label(value: &str) -> bool {
    value.len() <= 63 && is_part(value)
}

fn is_part(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    value.bytes().all(|b| inner(b) || b == b'-')
        && value.bytes().next().is_some_and(inner)
        && value.bytes().last().is_some_and(inner)
}

/// As Kubernetes has it (IsDNS1123Subdomain): only the whole name is bounded, not its parts.
fn is_subdomain(value: &str) -> bool {
    value.len() <= 253 && value.split('.').all(is_part)
}

fn is_client_id(value: &str) -> bool {
    match value.split_once('/') {
        Some((namespace, name)) => is_label(namespace) && is_subdomain(name),
        None => is_subdomain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_with_what_is_allowed() {
        for good in ["search_contacts", "a.b-c", "A"] {
            assert_eq!(good.parse::<ToolName>().map(String::from), Ok(good.into()));
        }
        for bad in ["", "a b", "tool/x", "ü", &"x".repeat(129)] {
            assert!(bad.parse::<ToolName>().is_err(), "{bad:?}");
        }
        for good in ["a", "a.b-c", &"x".repeat(253)] {
            assert!(good.parse::<ObjectName>().is_ok(), "{good:?}");
            assert!(ClientId::of("sales", &NamespacedName::new("team", good)).is_ok(), "{good:?}");
        }
        for bad in ["", "a..b", ".a", "a.", "a.-b", &"x".repeat(254)] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad:?}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", &"x".repeat(64)] {
            assert!(bad.parse::<BackendName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_name_that_the_api_server_accepts_for_an_object_is_one() {
        for good in ["a", "a.b-c", &"x".repeat(253), &format!("{}.y", "x".repeat(251))] {
            assert!(good.parse::<ObjectName>().is_ok(), "{good}");
            assert!(ClientId::of("sales", &NamespacedName::new("team", good)).is_ok(), "{good}");
        }
        for bad in ["", "a..b", "a.", ".a", "-a", "a.-b", "A", &"x".repeat(254)] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_client_of_another_namespace_cannot_take_a_local_name() {
        for (namespace, id) in [("sales", "bot"), ("team", "team/bot")] {
            let client = NamespacedName::new(namespace, "bot");
            let parsed = ClientId::of("sales", &client).unwrap();
            assert_eq!((parsed.as_str(), parsed.resolve("sales")), (id, client));
        }
        assert!("a/b/c".parse::<ClientId>().is_err());
    }
}
