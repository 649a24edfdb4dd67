//! The policy: the one document that a server obeys. The operator writes it, the server reads it, and a person can do both.
//!
//! It holds no secret. Unknown fields are refused. Same content, same bytes: lists are sorted, nothing depends on time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    check, document,
    finding::Findings,
    name::{ClientId, ToolName},
    revision::Revision,
    server::{
        Audit, Authentication, Backend, ClientRule, Limits, LogLevel, McpServerSpec, Rate, Tool, default_client_rules,
    },
};

/// The version of the contract that this crate writes and reads.
pub const CONTRACT: u32 = 1;
/// The name of the document's file, and of its key in the ConfigMap.
pub const FILE: &str = "policy.yaml";

/// A policy that was checked: made by [`Policy::new`] or [`Policy::parse`] only.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The version of the contract: 1.
    pub contract: u32,
    /// The SHA-256 of the content without this field; may be left out of a document written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub revision: Option<Revision>,
    /// Which server obeys it.
    pub server: ServerIdentity,
    /// The server's half: as in a McpServer's spec.
    pub spec: Serving,
    /// The clients' half: what each may do. Who is not in it may do nothing.
    #[serde(default)]
    pub clients: Vec<PolicyClient>,
}

/// Which server a policy is for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerIdentity {
    pub namespace: String,
    pub name: String,
    /// How many pods share the limits: each holds `1/replicas` of every one.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u16,
    /// The names, without ports, that requests may be addressed to beside loopback.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub hosts: Vec<String>,
}

fn one() -> u16 {
    1
}

/// The server's half of a policy: the fields of a McpServer's spec that say how calls are served.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    #[schemars(length(min = 1, max = 64))]
    pub backends: Vec<Backend>,
    #[schemars(length(min = 1, max = 256))]
    pub tools: Vec<Tool>,
    #[serde(default)]
    pub authentication: Authentication,
    /// The rules that the clients were admitted by; servers do not look at them, the operator does.
    #[serde(default = "default_client_rules")]
    pub clients: Vec<ClientRule>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub audit: Audit,
    #[serde(default)]
    pub log_level: LogLevel,
}

impl From<&McpServerSpec> for Serving {
    fn from(spec: &McpServerSpec) -> Self {
        Self {
            backends: spec.backends.clone(),
            tools: spec.tools.clone(),
            authentication: spec.authentication.clone(),
            clients: spec.clients.clone(),
            limits: spec.limits,
            audit: spec.audit,
            log_level: spec.log_level,
        }
    }
}

/// What one client may do.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyClient {
    /// Its id on this server.
    pub id: ClientId,
    /// The UID of its McpClient. The credentials must agree: a client deleted and made again has another.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
    /// The tools that it may call, by name.
    #[schemars(length(max = 256))]
    pub tools: Vec<ToolName>,
    /// The most records that one call returns to it.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_records_per_query: u32,
    /// Whether it may call tools whose effect is `Write`.
    #[serde(default)]
    pub allow_write: bool,
    /// How often it may call; all of them hold. At least one.
    #[schemars(length(min = 1, max = 2))]
    pub limits: Vec<Rate>,
    /// Refused, until this is taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// When its access ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

impl Policy {
    /// A policy of these halves: sorted, checked, with its revision.
    ///
    /// # Errors
    /// Everything that is wrong with it, as a McpServer's author would have it named.
    pub fn new(server: ServerIdentity, spec: Serving, clients: Vec<PolicyClient>) -> Result<Self, Findings> {
        let mut policy = Self { contract: CONTRACT, revision: None, server, spec, clients };
        policy.sort();
        let findings = policy.check();
        policy.revision = policy.content_revision();
        findings.or(policy)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// All that is wrong with it, field by field: syntax, unknown fields, another contract, a revision that is not that
    /// of the content, and whatever [`check`] finds.
    pub fn parse(text: &str) -> Result<Self, Findings> {
        let value = document::single(text)?;
        contract_of(&value)?;
        let mut policy: Self = document::decode(value, "")?;
        policy.sort();
        let content = policy.content_revision();
        let mut findings = policy.check();
        if policy.revision.is_some() && policy.revision != content {
            findings
                .add("revision", "is not that of the content: the document was changed by hand; leave the field out");
        }
        policy.revision = content;
        findings.or(policy)
    }

    /// The document, the same bytes for the same content.
    ///
    /// # Errors
    /// Where a value in it has no YAML form, which none that was parsed lacks.
    pub fn print(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(self)
    }

    /// The revision; every policy that was made or parsed has one.
    pub fn revision(&self) -> &str {
        self.revision.as_ref().map_or("", Revision::as_str)
    }

    fn content_revision(&self) -> Option<Revision> {
        Revision::of(&Self { revision: None, ..self.clone() }).ok()
    }

    fn sort(&mut self) {
        self.server.hosts.sort();
        self.server.hosts.dedup();
        self.spec.backends.sort_by(|a, b| a.name.cmp(&b.name));
        self.spec.tools.sort_by(|a, b| a.name.cmp(&b.name));
        self.clients.sort_by(|a, b| a.id.cmp(&b.id));
        for client in &mut self.clients {
            client.tools.sort();
            client.limits.sort();
        }
    }

    fn check(&self) -> Findings {
        let mut findings = check::serving(&self.spec, self.server.replicas);
        let mut ids = std::collections::BTreeSet::new();
        for (n, client) in self.clients.iter().enumerate() {
            if !ids.insert(&client.id) {
                findings.add(format!("clients[{n}].id"), format!("`{}` is there twice", client.id));
            }
            for (m, tool) in client.tools.iter().enumerate() {
                if self.spec.tools.binary_search_by(|t| t.name.cmp(tool)).is_err() {
                    findings.add(format!("clients[{n}].tools[{m}]"), format!("`{tool}` is no tool of this server"));
                }
            }
            for (m, rate) in client.limits.iter().enumerate() {
                check::rate(*rate, &format!("clients[{n}].limits[{m}]"), &mut findings);
                check::share(
                    rate.requests,
                    self.server.replicas,
                    &format!("clients[{n}].limits[{m}].requests"),
                    &mut findings,
                );
            }
        }
        findings
    }
}

/// Refuses another contract before its fields are looked at: they may be others.
pub(crate) fn contract_of(value: &serde_json::Value) -> Result<(), Findings> {
    match value.get("contract").and_then(serde_json::Value::as_u64) {
        Some(found) if found == u64::from(CONTRACT) => Ok(()),
        Some(found) => Err(Findings(vec![crate::Finding::new(
            "contract",
            format!(
                "is {found}; this program reads {CONTRACT}: bring operator and server to versions that belong together"
            ),
        )])),
        None => Err(Findings(vec![crate::Finding::new("contract", format!("is missing; it must be {CONTRACT}"))])),
    }
}
