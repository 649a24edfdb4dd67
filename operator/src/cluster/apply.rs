//! Makes one object what it should be: writes it only if it differs, and only if it is the operator's.
//!
//! An object is created with POST, so that an existing object of its name is never touched. Later it is written by server-side
//! apply with its UID, so that an object that was deleted meanwhile is a conflict, and is not created again unnoticed.
//!
//! An object that the operator wrote stays its own when another party takes its labels or its owner away. A document is deleted
//! and created again if it can no longer be changed.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::NamespacedName;
use serde_json::{Value, json};

use super::{
    client::{Cluster, ObjectRef},
    drift::{self, ListRules},
    error::Error,
    field_path::{FieldPath, Found},
    foreign::{Foreign, Guard, Privileges, foreign},
    kind::ObjectKind,
    managed_fields::{FIELD_MANAGER, as_applied, is_managed_by},
    named_fields::NamedFields,
    ownership::{NotOwned, Owner, controller_uid, owner},
    received::{ReceivedObject, decodable},
};

/// What became of an object.
#[derive(Clone)]
pub enum Applied {
    /// It is as it should be; nothing was written.
    Unchanged,
    /// It did not exist and was created.
    Created(ReceivedObject),
    /// It differed and was written.
    Patched(Correction),
}

/// An object that differed, and was written.
#[derive(Clone)]
pub struct Correction {
    /// As it is after the write.
    pub object: ReceivedObject,
    /// The first fields that differed, in words.
    pub fields: String,
    /// The other field managers that had changed them, as far as that is known.
    pub by: BTreeSet<String>,
    /// Whether others had added what they may not add. No edit of a spec does that.
    pub is_addition: bool,
    /// What differs even so: something changes the object while it is written.
    pub remains: Option<String>,
}

impl Applied {
    /// The object as it is after the write; `None` if nothing was written.
    pub fn written(self) -> Option<ReceivedObject> {
        match self {
            Self::Unchanged => None,
            Self::Created(object) | Self::Patched(Correction { object, .. }) => Some(object),
        }
    }
}

/// An object as it should be. It may be a Secret, so that it has no `Debug`.
#[derive(Clone)]
pub struct DesiredObject {
    object: ObjectRef,
    lists: ListRules,
    value: Value,
    is_document: bool,
    /// The annotation of one that takes the place of an immutable object.
    mark: Option<&'static str>,
    is_fenced: bool,
    guards: &'static [Guard],
    known_uids: BTreeSet<String>,
}

impl DesiredObject {
    /// `value` is the whole object, with its name, namespace and controller.
    pub fn new(kind: &ObjectKind, value: Value) -> Self {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = NamespacedName { namespace: text("/metadata/namespace"), name: text("/metadata/name") };
        let object = ObjectRef { resource: kind.resource(), name };
        Self {
            object,
            lists: kind.lists,
            value,
            is_document: false,
            mark: None,
            is_fenced: false,
            guards: &[],
            known_uids: BTreeSet::new(),
        }
    }

    /// Pods read the object by its name and nothing else is in it: what another party adds is removed, and if it cannot be changed
    /// it is deleted and created again, with the annotation `mark` if it was immutable.
    pub fn document(mut self, mark: &'static str) -> Self {
        self.is_document = true;
        self.mark = Some(mark);
        self
    }

    /// A write replaces only the version of the object that it was made for, and is a conflict otherwise: one that was given up has
    /// no effect after a later one.
    pub fn fenced(mut self, is_fenced: bool) -> Self {
        self.is_fenced = is_fenced;
        self
    }

    /// What others add in these parts is removed.
    pub fn guarded(mut self, guards: &'static [Guard]) -> Self {
        self.guards = guards;
        self
    }

    /// The objects of these UIDs are the operator's, whatever their owner says.
    pub fn known(mut self, uids: BTreeSet<String>) -> Self {
        self.known_uids = uids;
        self
    }

    /// Makes it so. `live` is the object as it was last read; if that is `None` it is read first.
    ///
    /// # Errors
    /// Returns [`Error::NotOwned`] if the name is taken by an object that is not the operator's, and an error if the API server
    /// refuses.
    pub async fn apply(&self, cluster: &Cluster, live: Option<Value>) -> Result<Applied, Error> {
        let live = match live {
            Some(live) => Some(live),
            None => self.read(cluster).await?,
        };
        let Some(mut live) = live else { return self.create(cluster).await };
        let mut changed = Changed::default();
        match self.owner(&live) {
            Owner::Us => {}
            Owner::Lost => {
                self.take_back(cluster, &live).await?;
                changed.fields.add(&FieldPath::of_field("metadata").field("ownerReferences"));
                let Some(now) = self.read(cluster).await? else { return self.create(cluster).await };
                live = now;
            }
            Owner::Other => {
                let NamespacedName { namespace, name } = self.object.name.clone();
                return Err(Error::NotOwned(NotOwned { kind: self.object.resource.kind.clone(), namespace, name }));
            }
        }
        if let Some(field) = self.unchangeable(&live) {
            changed.note([FieldPath::of_field(field)], &live);
            let object = self.replace(cluster, &live).await?;
            return Ok(Applied::Patched(changed.corrected(object, None)));
        }
        let mut written = None;
        if let Some(added) = self.added(&live) {
            changed.note(of(added.fields), &live);
            changed.is_addition = true;
            let object = self.remove(cluster, &live, added.patch).await?;
            live = object.value()?;
            written = Some(object);
        }
        let drift = self.drift(&live);
        if !drift.is_empty() {
            changed.note(drift, &live);
        } else if let Some(object) = written {
            let remains = self.remains(&live);
            return Ok(Applied::Patched(changed.corrected(object, remains)));
        } else if changed.fields.is_empty() {
            return Ok(Applied::Unchanged);
        }
        let object = match self.patch(cluster, &mut live).await {
            // Another party's annotations may take all the room that there is.
            Err(error) if self.is_document && error.is_invalid() => {
                let Some(patch) = added_annotations(&self.value, &live) else { return Err(error) };
                live = self.remove(cluster, &live, patch).await?.value()?;
                self.patch(cluster, &mut live).await?
            }
            patched => patched?,
        };
        let remains = self.remains(&object.value()?);
        Ok(Applied::Patched(changed.corrected(object, remains)))
    }

    /// The first fields that differ, in words, and the other field managers that changed them; `None` if nothing is to be written.
    pub fn difference(&self, live: &Value) -> Option<(String, BTreeSet<String>)> {
        let mut changed = Changed::default();
        changed.note(of(self.added(live).map(|added| added.fields).unwrap_or_default()), live);
        changed.note(self.drift(live), live);
        (!changed.fields.is_empty()).then(|| (changed.fields.text(), changed.by))
    }

    /// What another party added or changed where that may give the pods a privilege.
    pub fn privileges(&self, live: &Value) -> Privileges {
        let added = self.added(live).into_iter().flat_map(|added| added.fields);
        let is_privilege = |found: &Found<'_>| self.guards.iter().any(|guard| guard.covers(&found.field));
        let changed = drift::changed(&self.value, live, self.lists).into_iter().filter(is_privilege);
        added.chain(changed).map(|found| (found.field.to_string(), found.hash_of_value())).collect()
    }

    fn drift(&self, live: &Value) -> Vec<FieldPath> {
        drift::drift(&self.value, live, FIELD_MANAGER, self.lists)
    }

    /// What another party added and may not add.
    fn added<'a>(&self, live: &'a Value) -> Option<Foreign<'a>> {
        match self.is_document {
            true => added_data(&self.value, live),
            false => foreign(&self.value, live, self.guards, self.lists),
        }
    }

    /// What is not as it should be although it was just written.
    fn remains(&self, live: &Value) -> Option<String> {
        let mut fields = NamedFields::default();
        let added = of(self.added(live).map(|added| added.fields).unwrap_or_default());
        added.chain(self.drift(live)).for_each(|field| _ = fields.add(&field));
        (!fields.is_empty()).then(|| fields.text())
    }

    /// The field because of which a document cannot become what it should be.
    fn unchangeable(&self, live: &Value) -> Option<&'static str> {
        match self.is_document {
            true if live["immutable"] == true => Some("immutable"),
            // Of a Secret.
            true if live["type"] != self.value["type"] => Some("type"),
            _ => None,
        }
    }

    async fn read(&self, cluster: &Cluster) -> Result<Option<Value>, Error> {
        Ok(cluster.read(&self.object).await?.map(|live| live.value()).transpose()?)
    }

    async fn create(&self, cluster: &Cluster) -> Result<Applied, Error> {
        cluster.create(&self.object, self.value.clone()).await.map(Applied::Created)
    }

    async fn patch(&self, cluster: &Cluster, live: &mut Value) -> Result<ReceivedObject, Error> {
        if let Some(managed_fields) = as_applied(live, FIELD_MANAGER) {
            let metadata = json!({
                "uid": live["metadata"]["uid"],
                "resourceVersion": live["metadata"]["resourceVersion"],
                "managedFields": managed_fields,
            });
            let version = cluster.patch_metadata("taking over the fields of", &self.object, metadata).await?;
            live["metadata"]["resourceVersion"] = version.into();
        }
        let mut value = self.value.clone();
        value["metadata"]["uid"] = live["metadata"]["uid"].clone();
        let version = &live["metadata"]["resourceVersion"];
        if self.is_fenced && !version.is_null() {
            value["metadata"]["resourceVersion"] = version.clone();
        }
        cluster.apply(&self.object, value).await
    }

    /// Removes what another party added.
    async fn remove(&self, cluster: &Cluster, live: &Value, mut patch: Value) -> Result<ReceivedObject, Error> {
        patch["metadata"]["uid"] = live["metadata"]["uid"].clone();
        if !self.is_document {
            // The patch has whole lists, of which another party may have changed something since.
            patch["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        }
        cluster.merge("removing what was added to", &self.object, patch).await
    }

    /// The owner of the live object.
    fn owner(&self, live: &Value) -> Owner {
        owner(controller_uid(&metadata(&self.value)), &self.known_uids, live)
    }

    /// Makes the owner the controller again. There can be one controller only, so that another one is removed.
    async fn take_back(&self, cluster: &Cluster, live: &Value) -> Result<(), Error> {
        let owners = |object: &Value| object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        let ours = owners(&self.value);
        let is_other = |owner: &Value| owner["controller"] != true && ours.iter().all(|it| it["uid"] != owner["uid"]);
        let others: Vec<Value> = owners(live).into_iter().filter(is_other).collect();
        let owners = [ours, others].concat();
        let metadata = json!({
            "uid": live["metadata"]["uid"],
            "resourceVersion": live["metadata"]["resourceVersion"],
            "ownerReferences": owners,
        });
        cluster.patch_metadata("taking back", &self.object, metadata).await.map(drop)
    }

    /// Deletes the object and creates it again. Pods keep what they have mounted in between.
    async fn replace(&self, cluster: &Cluster, live: &Value) -> Result<ReceivedObject, Error> {
        // If something refuses to create it, the old one is better than none: pods that start need it. A quota counts the old one, too,
        // but one that is exceeded already refuses the new one after the old one is gone.
        let mut value = self.value.clone();
        if let Some(mark) = self.mark.filter(|_| live["immutable"] == true) {
            value["metadata"]["annotations"][mark] = "true".into();
        }
        match cluster.try_create(&self.object, value.clone()).await {
            Err(error) if !error.is_conflict() && !error.is_full_quota() => return Err(error),
            _ => {}
        }
        let uid = &live["metadata"]["uid"];
        if live["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty()) {
            let metadata = json!({"uid": uid, "finalizers": null});
            match cluster.patch_metadata("removing the finalizers of", &self.object, metadata).await {
                Err(error) if !error.is_conflict() => return Err(error),
                _ => {}
            }
        }
        match cluster.delete(&self.object, uid.as_str().unwrap_or_default()).await {
            Err(error) if !error.is_gone() => return Err(error),
            _ => {}
        }
        cluster.create(&self.object, value).await
    }
}

/// What differs, and who changed it.
#[derive(Default)]
struct Changed {
    fields: NamedFields,
    /// Who changed those that are named.
    by: BTreeSet<String>,
    is_addition: bool,
}

impl Changed {
    fn note(&mut self, fields: impl IntoIterator<Item = FieldPath>, live: &Value) {
        for field in fields {
            if self.fields.add(&field) {
                self.by.extend(field.other_managers(live, FIELD_MANAGER));
            }
        }
    }

    fn corrected(self, object: ReceivedObject, remains: Option<String>) -> Correction {
        let Self { fields, by, is_addition } = self;
        Correction { object, fields: fields.text(), by, is_addition, remains }
    }
}

fn of(found: Vec<Found<'_>>) -> impl Iterator<Item = FieldPath> {
    found.into_iter().map(|found| found.field)
}

/// What another party added to the data of a document.
fn added_data<'a>(want: &Value, live: &'a Value) -> Option<Foreign<'a>> {
    let mut added = Foreign { fields: Vec::new(), patch: json!({}) };
    for map in ["data", "binaryData"] {
        let all = live[map].as_object().into_iter().flatten();
        for (key, value) in all.filter(|(key, _)| want[map].get(key.as_str()).is_none()) {
            added.patch[map][key] = Value::Null;
            added.fields.push(Found { field: FieldPath::of_field(map).field(key), live: Some(value) });
        }
    }
    (!added.fields.is_empty()).then_some(added)
}

/// The patch that removes the annotations that another party added; `None` if there are none.
fn added_annotations(want: &Value, live: &Value) -> Option<Value> {
    let wanted = &want["metadata"]["annotations"];
    let annotations = live["metadata"]["annotations"].as_object()?;
    let added = annotations.keys().filter(|name| wanted.get(name.as_str()).is_none());
    let added: serde_json::Map<String, Value> = added.map(|name| (name.clone(), Value::Null)).collect();
    (!added.is_empty()).then(|| json!({"metadata": {"annotations": added}}))
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

#[cfg(test)]
mod tests;
