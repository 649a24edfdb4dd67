//! Names that cannot be wrong: each is checked when it is read, and nowhere after.

use std::{borrow::Borrow, borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A name was refused; the text says what is allowed, and never repeats the name.
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
            /// What is allowed, in a sentence.
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
    /// The name of a Kubernetes object: a DNS subdomain.
    ObjectName, 253, "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", is_subdomain,
    "must be a DNS subdomain: at most 253 of the characters a-z, 0-9, '-', '.', with a letter or digit at both ends"
);

name!(
    /// Who a client is on one server: its name if it lives in the server's namespace, else `namespace/name`.
    /// A `/` cannot be in a name, so the two cannot collide.
    ClientId, 317, "^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", is_client_id,
    "must be the name of a McpClient, or namespace/name"
);

impl ClientId {
    /// The id of the McpClient `namespace/name` on a server that lives in `server_namespace`.
    ///
    /// # Errors
    /// Where the two are no names of Kubernetes objects.
    pub fn of(server_namespace: &str, namespace: &str, name: &str) -> Result<Self, NameError> {
        if namespace == server_namespace { name.parse() } else { format!("{namespace}/{name}").parse() }
    }
}

fn is_tool_name(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_label(value: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    value.len() <= 63
        && value.bytes().all(|b| inner(b) || b == b'-')
        && value.bytes().next().is_some_and(inner)
        && value.bytes().last().is_some_and(inner)
}

fn is_subdomain(value: &str) -> bool {
    value.len() <= 253 && value.split('.').all(is_label)
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
        for bad in ["", "-a", "a-", "A", "a.b", &"x".repeat(64)] {
            assert!(bad.parse::<BackendName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_client_of_another_namespace_cannot_take_a_local_name() {
        assert_eq!(ClientId::of("sales", "sales", "bot").map(String::from), Ok("bot".into()));
        assert_eq!(ClientId::of("sales", "team", "bot").map(String::from), Ok("team/bot".into()));
        assert!("a/b/c".parse::<ClientId>().is_err());
    }
}
