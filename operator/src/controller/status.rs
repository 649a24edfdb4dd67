//! Writes a status, for both kinds.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use portcullis_crds::NamespacedName;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{conditions::transitions, context::Context};
use crate::cluster::{
    Error, ObjectRef,
    received::ReceivedObject,
    store::{Change, Store, Stored},
};

/// The shortest time between two writes of one object's status.
pub const PACE: Duration = Duration::from_secs(1);

/// Whether a status is in the cluster as it is to be. Conditions of other types are somebody else's.
pub fn is_written<S: PartialEq + Clone>(live: &S, status: &S, conditions: fn(&mut S) -> &mut Vec<Condition>) -> bool {
    let (mut live, mut own) = (live.clone(), status.clone());
    let own = conditions(&mut own);
    conditions(&mut live).retain(|condition| own.iter().any(|it| it.type_ == condition.type_));
    live == *status
}

/// What is called with a change that the answer to a write shows.
type Changed<V> = fn(&Context, &Change<V>);

/// Writes the whole status, and writes an event for each transition of a condition. The object as it is then is put into `store`,
/// and `changed` is called, as after an event of the watch.
///
/// # Errors
/// Returns an error if the API server refuses; 404 or 409 if the object was deleted, or another one has its name.
pub async fn write<K, V>(
    context: &Context,
    (store, changed): (&Store<V>, Changed<V>),
    metadata: &ObjectMeta,
    status: &impl Serialize,
    before: &[Condition],
    after: &[Condition],
) -> Result<(), Error>
where
    K: Resource<DynamicType = ()>,
    V: Stored + From<ReceivedObject>,
{
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let name = NamespacedName { namespace: part(&metadata.namespace), name: part(&metadata.name) };
    let object = ObjectRef::of::<K>(name);
    let status = serde_json::to_value(status)?;
    let value = json!({
        "apiVersion": object.resource.api_version,
        "kind": object.resource.kind,
        "metadata": {"name": metadata.name, "uid": metadata.uid},
        "status": status,
    });
    let written = match context.cluster.apply_status(&object, value).await {
        Ok(written) => written,
        Err(error) => {
            let known = store.get(&object.name).filter(|_| error.is_gone());
            known.and_then(|known| store.remove(&known)).iter().for_each(|change| changed(context, change));
            return Err(error);
        }
    };
    // What others added to the status is not removed by an apply.
    let found: Map<String, Value> =
        written.field("status").and_then(|status| serde_json::from_str(status.get()).ok()).unwrap_or_default();
    let added: Map<String, Value> =
        found.into_iter().filter(|(name, _)| status.get(name).is_none()).map(|(name, _)| (name, Value::Null)).collect();
    let written = match added.is_empty() {
        true => written,
        false => context.cluster.patch_status(&object, metadata.uid.as_deref(), added.into()).await?,
    };
    // Another party may have changed the object just before, and the event of that may come late or be skipped for this answer.
    store.answer(written.into()).iter().for_each(|change| changed(context, change));
    context.events.write::<K>(metadata, &transitions(before, after)).await;
    Ok(())
}
