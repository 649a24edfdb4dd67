//! The policy that is in force at a server, as far as it can be read.
//!
//! It is never checked again, and another release may have written it: its bounds need not be those of this release, and it may
//! have fields that this one does not know. What cannot be read is published again as it is written; the clients beside it can lose
//! access all the same.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    admission::{self, Allowance, ClientRule, NamespaceSelection, NamespacesFrom},
    client::PolicyClient,
    half_reading::HalfReading,
    limits::{Limits, Rate},
    policy::{Policy, PolicyReading},
    server_half::{ServerHalf, ServerIdentity, ServerSpec},
    settings::{Audit, Authentication, LogLevel},
    tool::{Effect, HttpMethod, StaticTool, Tool, ToolKind},
};
use crate::{Duration, JsonObject, document, revision::Revision};

/// The policy that is in force at a server.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedPolicy {
    pub revision: Revision,
    /// `None` if it cannot be published again.
    pub server: Option<PublishedHalf>,
    /// Sorted by id.
    pub clients: Arc<[PolicyClient]>,
}

/// The server's half of it.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedHalf {
    /// What can be read of it, sorted. If that is not all, it is only good for taking access away.
    pub readable: Arc<ServerHalf>,
    /// Its fields as they are written, if this release cannot read all of them.
    pub(super) written: Option<Arc<Map<String, Value>>>,
}

impl PublishedHalf {
    /// Whether all of it can be read.
    pub fn is_complete(&self) -> bool {
        self.written.is_none()
    }

    /// The half with other limits and rules.
    #[must_use]
    pub fn with(&self, readable: Arc<ServerHalf>) -> Self {
        let written = self.written.as_ref().map(|written| {
            let limits = written.get("spec").and_then(|spec| spec.get("limits"));
            let is_read = limits.is_none_or(|limits| document::decode_published::<Limits>(limits, "").is_ok());
            if !is_read || readable.spec.limits == self.readable.spec.limits {
                return written.clone();
            }
            let mut changed = Map::clone(written);
            if let (Some(Value::Object(spec)), Ok(limits)) =
                (changed.get_mut("spec"), serde_json::to_value(readable.spec.limits))
            {
                spec.insert("limits".into(), limits);
            }
            Arc::new(changed)
        });
        Self { readable, written }
    }
}

impl From<Arc<ServerHalf>> for PublishedHalf {
    fn from(readable: Arc<ServerHalf>) -> Self {
        Self { readable, written: None }
    }
}

impl From<&Policy> for PublishedPolicy {
    fn from(policy: &Policy) -> Self {
        let (half, clients) = policy.parts();
        Self { revision: policy.revision().clone(), server: Some(half.clone()), clients: clients.clone() }
    }
}

impl From<PolicyReading> for PublishedPolicy {
    fn from(reading: PolicyReading) -> Self {
        let PolicyReading { revision, server, clients, .. } = reading;
        Self { revision, server: server.published(), clients: clients.into() }
    }
}

impl HalfReading {
    /// The half for publishing it again; `None` if it is not clear what it is.
    pub fn published(&self) -> Option<PublishedHalf> {
        if !self.flaws.is_empty() {
            return None;
        }
        let of = |name: &str| self.fields.get(name).unwrap_or(&Value::Null);
        if of("server").is_null() || of("spec").is_null() {
            return None;
        }
        let is_known = self.fields.keys().all(|name| ["server", "spec"].contains(&name.as_str()));
        let exact = (document::decode_published(of("server"), ""), document::decode_published(of("spec"), ""));
        let (mut half, written) = match exact {
            (Ok(server), Ok(spec)) if is_known => (ServerHalf { server, spec }, None),
            _ => (readable(of("server"), of("spec"))?, Some(Arc::new(self.fields.clone()))),
        };
        half.sort();
        Some(PublishedHalf { readable: Arc::new(half), written })
    }
}

/// What can be read of a half whose fields are not all known. Where something decides what a client is granted and cannot be read,
/// it allows everything: nobody is granted more by such a half than what is published beside it.
fn readable(server: &Value, spec: &Value) -> Option<ServerHalf> {
    let name = |name: &str| server.get(name).and_then(Value::as_str).map(str::to_owned);
    let server = decoded(server).or_else(|| {
        let replicas = server.get("replicas").and_then(Value::as_u64).and_then(|it| u16::try_from(it).ok());
        let replicas = replicas.unwrap_or(1);
        Some(ServerIdentity { namespace: name("namespace")?, name: name("name")?, replicas, hosts: Vec::new() })
    })?;
    let list = |name: &str| spec.get(name).and_then(Value::as_array).into_iter().flatten();
    let setting = |name: &str| spec.get(name);
    Some(ServerHalf {
        server,
        spec: ServerSpec {
            backends: list("backends").filter_map(decoded).collect(),
            tools: list("tools").filter_map(|tool| decoded(tool).or_else(|| substitute(tool))).collect(),
            authentication: setting("authentication").and_then(decoded::<Authentication>).unwrap_or_default(),
            clients: setting("clients").map_or_else(admission::default_rules, |it| decoded(it).unwrap_or_else(any)),
            limits: setting("limits").map_or_else(Limits::default, |it| decoded(it).unwrap_or_else(unlimited)),
            audit: setting("audit").and_then(decoded::<Audit>).unwrap_or_default(),
            log_level: setting("logLevel").and_then(decoded::<LogLevel>).unwrap_or_default(),
        },
    })
}

/// A value without the fields that are not known.
fn decoded<T: JsonSchema + DeserializeOwned + 'static>(value: &Value) -> Option<T> {
    document::decode_known(value)
}

/// A tool of which nothing is known but what it is called and does. What cannot be told from it is a write.
fn substitute(tool: &Value) -> Option<Tool> {
    let method = || decoded::<HttpMethod>(tool.get("http")?.get("method")?);
    let of_method = || method().filter(|method| method.is_read()).map(|_| Effect::Read);
    let effect = match tool.get("effect") {
        Some(effect) => decoded::<Effect>(effect),
        None if tool.get("static").is_some() => Some(Effect::Read),
        None => of_method(),
    };
    Some(Tool {
        name: decoded(tool.get("name")?)?,
        title: None,
        description: String::new(),
        backend: "unknown".parse().ok()?,
        stated_effect: Some(effect.unwrap_or(Effect::Write)),
        expensive: false,
        timeout: Duration::from_secs(30),
        input_schema: JsonObject(Map::new()),
        output_schema: None,
        annotations: None,
        icons: Vec::new(),
        kind: ToolKind::Static(StaticTool { structured_content: None, text: None }),
        records: None,
        audit: None,
    })
}

fn any() -> Vec<ClientRule> {
    let namespaces = NamespaceSelection { from: NamespacesFrom::All };
    vec![ClientRule { namespaces, allow: Allowance::default(), max_clients: 10_000 }]
}

fn unlimited() -> Limits {
    Limits { per_client: Rate { requests: 1_000_000, per: Duration::from_secs(60) }, ..Limits::default() }
}
