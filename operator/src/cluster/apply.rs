//! Makes one object what it should be: writes it only if it differs, and only if it is the operator's.
//!
//! An object is created with POST, so that an existing object of its name is never touched. Later it is written by server-side
//! apply with its UID, so that an object that was deleted meanwhile is a conflict, and is not created again unnoticed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::NamespacedName;
use serde_json::{Value, json};

use super::{
    client::{Cluster, ObjectRef},
    drift::{ListRules, drift},
    error::Error,
    kind::ObjectKind,
    managed_fields::{FIELD_MANAGER, as_applied, is_managed_by},
    ownership::{NotOwned, controller_uid},
    received::{ReceivedObject, decodable},
};

/// What became of an object.
#[derive(Clone)]
pub enum Applied {
    /// It is as it should be; nothing was written.
    Unchanged,
    /// It did not exist and was created.
    Created(ReceivedObject),
    /// It differed and was corrected; `field` is the first field that differed.
    Patched { object: ReceivedObject, field: String },
}

impl Applied {
    /// The object as it is after the write; `None` if nothing was written.
    pub fn written(self) -> Option<ReceivedObject> {
        match self {
            Self::Unchanged => None,
            Self::Created(object) | Self::Patched { object, .. } => Some(object),
        }
    }
}

/// An object as it should be. It may be a Secret, so that it has no `Debug`.
#[derive(Clone)]
pub struct DesiredObject {
    object: ObjectRef,
    lists: ListRules,
    value: Value,
}

impl DesiredObject {
    /// `value` is the whole object, with its name, namespace and controller.
    pub fn new(kind: &ObjectKind, value: Value) -> Self {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = NamespacedName { namespace: text("/metadata/namespace"), name: text("/metadata/name") };
        Self { object: ObjectRef { resource: kind.resource(), name }, lists: kind.lists, value }
    }

    /// Makes it so. `live` is the object as it was last read; if that is `None` it is read first.
    ///
    /// # Errors
    /// Returns [`Error::NotOwned`] if the name is taken by an object that is not the operator's, and an error if the API server
    /// refuses.
    pub async fn apply(&self, cluster: &Cluster, live: Option<Value>) -> Result<Applied, Error> {
        let live = match live {
            Some(live) => live,
            None => match cluster.read(&self.object).await? {
                Some(live) => live.value()?,
                None => return cluster.create(&self.object, self.value.clone()).await.map(Applied::Created),
            },
        };
        self.check_owner(&live)?;
        let Some(field) = drift(&self.value, &live, FIELD_MANAGER, self.lists) else { return Ok(Applied::Unchanged) };
        let object = self.patch(cluster, &live).await?;
        Ok(Applied::Patched { object, field })
    }

    async fn patch(&self, cluster: &Cluster, live: &Value) -> Result<ReceivedObject, Error> {
        if let Some(managed_fields) = as_applied(live, FIELD_MANAGER) {
            let metadata = json!({
                "uid": live["metadata"]["uid"],
                "resourceVersion": live["metadata"]["resourceVersion"],
                "managedFields": managed_fields,
            });
            cluster.patch_metadata("taking over the fields of", &self.object, metadata).await?;
        }
        let mut value = self.value.clone();
        value["metadata"]["uid"] = live["metadata"]["uid"].clone();
        cluster.apply(&self.object, value).await
    }

    /// The live object's controller must be that of the desired one.
    fn check_owner(&self, live: &Value) -> Result<(), Error> {
        let (desired, found) = (metadata(&self.value), metadata(live));
        let owner = controller_uid(&desired);
        if owner.is_some() && owner == controller_uid(&found) {
            return Ok(());
        }
        let NamespacedName { namespace, name } = self.object.name.clone();
        Err(Error::NotOwned(NotOwned { kind: self.object.resource.kind.clone(), namespace, name }))
    }
}

/// Deletes an object that is no longer built; returns whether it did. Only what the operator wrote itself is deleted: a user's
/// copy of an object has the owner and the labels of the original.
///
/// # Errors
/// Returns an error if the API server refuses.
pub async fn prune(cluster: &Cluster, kind: &ObjectKind, live: &Value) -> Result<bool, Error> {
    let metadata = metadata(live);
    if !is_managed_by(live, FIELD_MANAGER) || metadata.deletion_timestamp.is_some() {
        return Ok(false);
    }
    let (namespace, name) = (metadata.namespace.unwrap_or_default(), metadata.name.unwrap_or_default());
    let object = ObjectRef { resource: kind.resource(), name: NamespacedName { namespace, name } };
    cluster.delete(&object, &metadata.uid.unwrap_or_default()).await.map(|()| true)
}

fn metadata(object: &Value) -> ObjectMeta {
    object["metadata"].as_object().cloned().map(decodable).unwrap_or_default()
}
