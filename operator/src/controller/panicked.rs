//! A reconcile that panicked: a mistake of the operator, which concerns one object. It is logged, and if it repeats, the object says so.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::Resource;
use portcullis_crds::{
    McpClient, McpServer,
    condition::{ConditionType, Reason},
};
use serde_json::json;
use tracing::{debug, error};

use super::{
    conditions::{ConditionWriter, kstatus},
    context::{Context, ReconcileKey},
    failures::Retry,
};
use crate::{
    cluster::{Error, ObjectRef},
    condition::ConditionState,
    metrics::Task,
    supervise::caught,
};

/// From so many times on the status says so.
const REPEATED: u32 = 2;
/// The longest that writing the status may take.
const WRITE: Duration = Duration::from_secs(5);

/// Reports a panic. What is in the status besides its `Ready` stays.
pub async fn report(context: &Context, key: &ReconcileKey, why: &str, retry: Retry) {
    error!(server = key.server(), client = key.client(), error = why, retryIn = ?retry.pause, "a reconcile failed by a mistake of the operator");
    context.supervisor.metrics().restarted(Task::Reconcile);
    if retry.times < REPEATED {
        return;
    }
    match caught(tokio::time::timeout(WRITE, write(context, key, why))).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => {
            debug!(server = key.server(), client = key.client(), %error, "its status could not be written")
        }
        Ok(Err(_)) => debug!(server = key.server(), client = key.client(), "its status could not be written in time"),
        Err(why) => {
            debug!(server = key.server(), client = key.client(), error = why, "its status could not be written")
        }
    }
}

async fn write(context: &Context, key: &ReconcileKey, why: &str) -> Result<(), Error> {
    let (object, metadata, before) = match key {
        ReconcileKey::Client(name) => {
            let Some(client) = context.clients.get(name) else { return Ok(()) };
            let before = client.status.as_ref().map(|status| status.conditions.clone());
            (object::<McpClient>(key), client.object.metadata.clone(), before.unwrap_or_default())
        }
        ReconcileKey::Server(name) => {
            let Some(server) = context.servers.get(name) else { return Ok(()) };
            let before = server.status.as_ref().map(|status| status.conditions.clone());
            (object::<McpServer>(key), server.object.metadata.clone(), before.unwrap_or_default())
        }
    };
    let after = conditions(&before, metadata.generation, why, Timestamp::now());
    if before == after {
        return Ok(());
    }
    let status = json!({"conditions": after});
    context.cluster.patch_status(&object, metadata.uid.as_deref(), status).await.map(drop)
}

fn object<K: Resource<DynamicType = ()>>(key: &ReconcileKey) -> ObjectRef {
    ObjectRef::of::<K>(key.name().clone())
}

/// The conditions that there were, with others for `Ready` and what kstatus reads. Those keep their places.
fn conditions(before: &[Condition], generation: Option<i64>, why: &str, now: Timestamp) -> Vec<Condition> {
    let message = format!("a mistake of the operator, which tries again; its log has more: {why}");
    let ready = ConditionState::no(Reason::InternalError, message);
    let (reconciling, stalled) = kstatus(&ready, true, true);
    let writer = ConditionWriter { generation, previous: before, now };
    let mut after = before.to_vec();
    for (type_, state) in
        [(ConditionType::Ready, ready), (ConditionType::Reconciling, reconciling), (ConditionType::Stalled, stalled)]
    {
        let condition = writer.condition(type_, &state);
        match after.iter_mut().find(|it| it.type_ == condition.type_) {
            Some(known) => *known = condition,
            None => after.push(condition),
        }
    }
    after
}
