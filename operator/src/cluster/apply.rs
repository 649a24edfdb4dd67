//! Step four: writes one object, only if it differs, and only if it is ours.
//!
//! An object is made with POST, so that one of that name that somebody else made is never touched. Later it is written by
//! server-side apply under one field manager, with its UID, so that one that vanished is a conflict and not made anew unseen.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::{
    drift::{as_applied, drift},
    error::{Error, call},
    ownership::NotOwned,
};

/// What became of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// It is as it should be; nothing was written.
    Unchanged,
    /// It was not there and was made.
    Created(DynamicObject),
    /// It was another and was put right; the field is the first that was not as it should be.
    Patched { object: DynamicObject, field: String },
}

impl Applied {
    /// The object as the API server has it after the write; none where there was no write.
    pub fn written(self) -> Option<DynamicObject> {
        match self {
            Self::Unchanged => None,
            Self::Created(object) | Self::Patched { object, .. } => Some(object),
        }
    }
}

/// An object that is to be, with what it takes to speak of it to the API.
#[derive(Clone, Debug)]
pub struct DesiredObject {
    value: Value,
    api: Api<DynamicObject>,
    kind: String,
    namespace: String,
    name: String,
}

impl DesiredObject {
    /// Takes a built object: its type, name, namespace and controller must be in it.
    ///
    /// # Errors
    /// Where it has no JSON form.
    pub fn new(client: &Client, object: &impl Serialize) -> Result<Self, Error> {
        let value = serde_json::to_value(object)?;
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (group, version) = match text("/apiVersion").split_once('/') {
            Some((group, version)) => (group.to_owned(), version.to_owned()),
            None => (String::new(), text("/apiVersion")),
        };
        let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        let resource = ApiResource::from_gvk(&GroupVersionKind { group, version, kind: kind.clone() });
        let api = Api::namespaced_with(client.clone(), &namespace, &resource);
        Ok(Self { value, api, kind, namespace, name })
    }

    /// Makes it so. `live` is what was last seen of it; none where nothing was, and then it is looked for first.
    ///
    /// # Errors
    /// [`Error::NotOwned`] where somebody else has the name; otherwise as the API server refuses.
    pub async fn apply(&self, live: Option<Value>) -> Result<Applied, Error> {
        let live = match live {
            Some(live) => live,
            None => match self.read().await? {
                Some(live) => live,
                None => return self.create().await,
            },
        };
        self.check_owner(&live)?;
        let Some(field) = drift(&self.value, &live, FIELD_MANAGER) else { return Ok(Applied::Unchanged) };
        let object = self.patch(&live).await?;
        Ok(Applied::Patched { object, field })
    }

    /// What is there now.
    ///
    /// # Errors
    /// As the API server refuses.
    pub async fn read(&self) -> Result<Option<Value>, Error> {
        let object = call(self.doing("reading"), self.api.get_opt(&self.name)).await?;
        Ok(object.map(serde_json::to_value).transpose()?)
    }

    async fn create(&self) -> Result<Applied, Error> {
        let object = serde_json::from_value(self.value.clone())?;
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        call(self.doing("creating"), self.api.create(&parameters, &object)).await.map(Applied::Created)
    }

    async fn patch(&self, live: &Value) -> Result<DynamicObject, Error> {
        if let Some(managed_fields) = as_applied(live, FIELD_MANAGER) {
            let metadata = json!({
                "uid": live["metadata"]["uid"],
                "resourceVersion": live["metadata"]["resourceVersion"],
                "managedFields": managed_fields,
            });
            let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({"metadata": metadata}));
            call(self.doing("taking over the fields of"), self.api.patch(&self.name, &parameters, &patch)).await?;
        }
        let mut value = self.value.clone();
        value["metadata"]["uid"] = live["metadata"]["uid"].clone();
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(value);
        let request = self.api.patch(&self.name, &parameters, &patch);
        call(self.doing("applying"), request).await
    }

    /// Whether the live object's controller is that of the wanted one.
    fn check_owner(&self, live: &Value) -> Result<(), Error> {
        let (wanted, found) = (controller(&self.value), controller(live));
        if wanted.is_some() && wanted == found {
            return Ok(());
        }
        let Self { kind, namespace, name, .. } = self.clone();
        Err(Error::NotOwned(NotOwned { kind, namespace, name }))
    }

    fn doing(&self, doing: &str) -> String {
        format!("{doing} {} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// The UID of an object's controller.
fn controller(object: &Value) -> Option<String> {
    let owners = object.pointer("/metadata/ownerReferences")?.clone();
    let owners: Vec<OwnerReference> = serde_json::from_value(owners).ok()?;
    owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid)
}
