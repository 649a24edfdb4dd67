//! Which object made which: every object that the operator makes has one controller, the McpServer or McpClient that it was
//! made for, and is garbage collected with it.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use serde_json::Value;

use super::{
    managed_fields::{FIELD_MANAGER, is_managed_by},
    received::decodable,
};

/// The reference that makes an object owned by `owner`.
pub fn controller_reference<K: Resource<DynamicType = ()>>(owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// An object's controller.
pub fn controller(object: &ObjectMeta) -> Option<&OwnerReference> {
    object.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The UID of an object's controller.
pub fn controller_uid(object: &ObjectMeta) -> Option<&str> {
    controller(object).map(|owner| owner.uid.as_str())
}

/// Whether an owner is a Deployment, a ReplicaSet or another kind of that group.
pub fn is_of_apps(owner: &OwnerReference) -> bool {
    owner.api_version.starts_with("apps/")
}

/// Whether `owner` is the controller of an object. UIDs are compared: an owner that was deleted and made again under its
/// name is another owner.
pub fn is_controlled_by(object: &ObjectMeta, owner: &ObjectMeta) -> bool {
    owner.uid.is_some() && controller_uid(object) == owner.uid.as_deref()
}

/// An object that is not the operator's, and has the name of one that the operator would make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOwned {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for NotOwned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        write!(
            f,
            "{kind} {namespace}/{name} already exists and was not made by the operator for this object; it is left as \
             it is: delete or rename it, or choose another name"
        )
    }
}

/// Whose object has the name.
#[derive(Debug, PartialEq, Eq)]
pub enum Owner {
    Us,
    /// The operator wrote it, and another party took its owner away.
    Lost,
    Other,
}

/// Whether an object is one that the operator made for the resource of this UID, as far as it can be told from the object and the UIDs
/// of those that are known.
pub fn belongs_to(uid: &str, known_uids: &BTreeSet<String>, live: &Value) -> bool {
    owner(Some(uid), known_uids, live) != Owner::Other
}

/// The owner of a live object, if it should be `wanted`. One that is of this operator's own kinds is another resource that wants the same
/// name.
pub fn owner(wanted: Option<&str>, known_uids: &BTreeSet<String>, live: &Value) -> Owner {
    let found: ObjectMeta = live["metadata"].as_object().cloned().map(decodable).unwrap_or_default();
    if wanted.is_some() && wanted == controller_uid(&found) {
        return Owner::Us;
    }
    let references = found.owner_references.iter().flatten();
    let mut controllers = references.filter(|owner| owner.controller == Some(true));
    let is_of_our_kinds = controllers.any(|owner| owner.api_version.starts_with("portcullis.dev/"));
    let is_known = found.uid.is_some_and(|uid| known_uids.contains(&uid));
    let was_ours = is_managed_by(live, FIELD_MANAGER) && (is_known || !is_of_our_kinds);
    if was_ours && wanted.is_some() { Owner::Lost } else { Owner::Other }
}
