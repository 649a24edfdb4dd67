//! A key of a Secret of the server's own namespace. Only its name is in a document; its value is in a file of the pod.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{DataKey, ObjectName};

/// A key of a Secret in the namespace of the server.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// The name of the Secret.
    pub name: ObjectName,
    /// The key in its data.
    pub key: DataKey,
}

impl SecretKeyRef {
    /// The file with its value, in the directory of the server's secrets.
    pub fn file(&self) -> PathBuf {
        [self.name.as_str(), self.key.as_str()].iter().collect()
    }
}

impl fmt::Display for SecretKeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key `{}` of Secret `{}`", self.key, self.name)
    }
}
