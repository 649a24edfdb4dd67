//! An API server that keeps one Lease.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use serde_json::json;

use super::super::{holder::HolderPod, *};
use crate::cluster::{
    fence::Fence,
    testing::{Request, in_process, refusal},
};

/// The Lease in the API, and the pods that exist: the UID and the status of each.
#[derive(Clone, Default)]
pub struct Api {
    pub lease: Arc<Mutex<Option<Value>>>,
    pub pods: Arc<Mutex<Vec<(&'static str, Value)>>>,
    pub is_away: Arc<AtomicBool>,
    /// The status with which every request for the Lease is refused, if any; and whether that is so only for those that write.
    pub refuses: Arc<Mutex<Option<(u16, bool)>>>,
    /// Whether `portcullis-system` was created.
    pub has_namespace: Arc<AtomicBool>,
    /// Whether requests are carried out and not answered.
    pub is_mute: Arc<AtomicBool>,
    version: Arc<AtomicU64>,
}

impl Api {
    pub fn cluster(&self) -> Cluster {
        let api = self.clone();
        let answer = move |request: &Request| {
            let answer = api.answer(request);
            (!api.is_mute.load(SeqCst)).then_some(answer)
        };
        Cluster::new(in_process(answer), Fence::open())
    }

    fn answer(&self, request: &Request) -> (u16, Value) {
        if self.is_away.load(SeqCst) {
            return refusal(503);
        }
        if request.path.contains("/pods") {
            let pod = |(uid, status): &(&str, Value)| json!({"metadata": {"name": "op", "namespace": "ops", "uid": uid}, "status": status});
            return (200, json!({"items": lock(&self.pods).iter().map(pod).collect::<Vec<_>>()}));
        }
        if request.path.contains("/api/v1/namespaces") {
            self.has_namespace.store(true, SeqCst);
            return (201, request.body.clone());
        }
        if let Some((code, writes)) = *lock(&self.refuses)
            && !(writes && request.method == "GET")
        {
            return refusal(code);
        }
        let mut lease = lock(&self.lease);
        match (request.method.as_str(), lease.as_mut()) {
            ("POST", None) if request.path.contains("/portcullis-system/") && !self.has_namespace.load(SeqCst) => {
                let mut status = refusal(404).1;
                status["details"] = json!({"kind": "namespaces", "name": "portcullis-system"});
                return (404, status);
            }
            ("POST", None) => *lease = Some(request.body.clone()),
            ("POST", Some(_)) => return refusal(409),
            ("PATCH", Some(found)) => {
                let version = &request.body["metadata"]["resourceVersion"];
                if !version.is_null() && *version != found["metadata"]["resourceVersion"] {
                    return refusal(409);
                }
                merge(found, &request.body);
            }
            (_, None) => return refusal(404),
            _ => {}
        }
        let lease = lease.as_mut().expect("there must be one by now");
        if request.method != "GET" {
            lease["metadata"]["resourceVersion"] = json!((self.version.fetch_add(1, SeqCst) + 1).to_string());
        }
        (200, lease.clone())
    }

    pub fn holder(&self) -> Option<String> {
        lock(&self.lease).as_ref()?["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }
}

/// A JSON merge patch (RFC 7396).
pub fn merge(target: &mut Value, patch: &Value) {
    for (name, value) in patch.as_object().unwrap() {
        match value {
            Value::Object(_) if target[name].is_object() => merge(&mut target[name], value),
            Value::Null => _ = target.as_object_mut().unwrap().remove(name),
            value => target[name] = value.clone(),
        }
    }
}

/// A process somewhere else that nothing is known about.
pub fn stranger(identity: &str) -> Holder {
    Holder {
        identity: identity.to_owned(),
        boot: identity.to_owned(),
        pid: 1,
        pod: None,
        ..Holder::this_process(false)
    }
}

pub fn in_pod(identity: &str, uid: &str) -> Holder {
    let pod = HolderPod { namespace: "ops".into(), name: "op".into(), uid: uid.into() };
    Holder { pod: Some(pod), ..stranger(identity) }
}

pub fn lease(api: &Api, holder: Holder) -> Arc<Lease> {
    Arc::new(Lease::new(api.cluster(), Some("ops".into()), holder, Term::default(), &Supervisor::default()))
}

pub fn may_write(lease: &Lease) -> bool {
    format!("{:?}", lease.term.fence()).contains("Some")
}
