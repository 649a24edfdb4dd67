//! A kind of object that is built: what it is to the cluster, and what the driver does with its objects. The watches, the
//! order of the writes, drift, pruning and the operator's rights follow from it.

use std::fmt;

use portcullis_crds::{
    McpServerSpec,
    contract::{Credentials, Policy, Version},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    deployment::PodSettings,
    document_names::{DocumentName, DocumentNames},
    settings::Settings,
};
use crate::{
    cluster::{
        foreign::Guard,
        kind::{ObjectKind, Retrieval},
    },
    object::Object,
};

/// A kind of object that is built for a server.
#[derive(Clone, Copy, Debug)]
pub struct BuiltKind {
    pub object: ObjectKind,
    /// Whether pods read their policy or credentials from it. Such an object is written before all others, and also while
    /// its server is being deleted, so that a revocation waits for nothing.
    pub is_document: bool,
    /// The kinds whose objects must be in place before one of this kind is created.
    pub needs: &'static [&'static str],
    /// Whether an object of this kind is deleted when it is no longer built: true for what a server can do without.
    pub is_pruned: bool,
    /// What others may not add to an object of this kind.
    pub guards: &'static [Guard],
    /// The objects of one server. Empty also while the server's spec has errors and it is not known what the object was by the last
    /// valid one: then what is in the cluster stays as it is.
    pub build: fn(&BuildInput<'_>) -> Vec<Value>,
}

/// What objects are made of.
pub struct BuildInput<'a> {
    pub server: &'a Object<McpServerSpec>,
    /// `None` while the spec has errors.
    pub spec: Option<&'a McpServerSpec>,
    /// What the pods have of the last valid spec; `None` if that is not known.
    pub pods: Option<PodSettings>,
    /// `None` if none can be published.
    pub policy: Option<&'a Policy>,
    pub credentials: Option<&'a Credentials>,
    pub names: &'a DocumentNames,
    pub settings: &'a Settings,
}

/// An object that a server is to have.
#[derive(Clone)]
pub struct BuiltObject {
    pub kind: &'static BuiltKind,
    /// The whole object.
    pub value: Value,
}

impl BuiltKind {
    /// What the operator must be allowed to do with the objects of this kind.
    pub fn verbs(&self) -> Vec<&'static str> {
        let mut verbs = match self.object.retrieval {
            Retrieval::Watched | Retrieval::WatchedIfServed => vec!["get", "list", "watch", "create", "patch"],
            Retrieval::OnDemand => vec!["get", "create", "patch"],
        };
        // A document is deleted if it can no longer be changed, and created again.
        if self.is_pruned || self.is_document {
            verbs.push("delete");
        }
        verbs
    }
}

impl BuiltObject {
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }
}

impl PartialEq for BuiltObject {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Without its content, which may be secret.
impl fmt::Debug for BuiltObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.object.kind, self.name())
    }
}

/// What the names of a document's objects consist of: one for each version of the contract, under each name that is written.
pub(super) fn names(input: &BuildInput<'_>) -> impl Iterator<Item = (Version, DocumentName)> {
    let of = |version: &'static Version| input.names.written.iter().map(move |name| (*version, *name));
    Version::WRITTEN.iter().flat_map(of)
}

/// The JSON form of a typed object.
pub(super) fn value(object: impl Serialize) -> Value {
    serde_json::to_value(object).expect("a built object must have a JSON form")
}
