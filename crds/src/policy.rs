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
        // Before the sort: a finding names the place in the document as it was written.
        let mut findings = policy.check();
        policy.sort();
        let content = policy.content_revision();
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
        let tools: std::collections::BTreeSet<_> = self.spec.tools.iter().map(|tool| &tool.name).collect();
        for (n, client) in self.clients.iter().enumerate() {
            if !ids.insert(&client.id) {
                findings.add(format!("clients[{n}].id"), format!("`{}` is there twice", client.id));
            }
            for (m, tool) in client.tools.iter().enumerate() {
                if !tools.contains(tool) {
                    findings.add(format!("clients[{n}].tools[{m}]"), format!("`{tool}` is no tool of this server"));
                }
            }
            for (m, rate) in client.limits.iter().enumerate() {
                check::rate(*rate, &format!("clients[{n}].limits[{m}]"), &mut findings);
                // A pod whose share of it is none admits nothing: that is no reason to refuse the others' changes.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = r#"
contract: 1
server: {namespace: sales, name: crm, replicas: 2, hosts: [crm.sales.svc, crm]}
spec:
  backends: [{name: fixed, static: {}}, {name: crm-api, http: {url: "http://crm-api.sales.svc:8080"}}]
  tools:
    - name: get_contact
      description: One contact.
      backend: crm-api
      http: {method: GET, path: "/contacts/{id}"}
      inputSchema: {type: object, required: [id], properties: {id: {type: string, pattern: "^c[0-9]+$"}}}
    - {name: about, description: About., backend: fixed, static: {text: A CRM.}}
clients:
  - {id: team/bot, uid: u2, tools: [about], maxRecordsPerQuery: 5, limits: [{requests: 60, per: 1m}]}
  - {id: agent, uid: u1, tools: [get_contact, about], maxRecordsPerQuery: 10, limits: [{requests: 60, per: 1m}],
     expiresAt: "2027-01-01T00:00:00Z"}
"#;

    fn with(from: &str, to: &str) -> String {
        assert!(TEXT.contains(from), "{from}");
        TEXT.replace(from, to)
    }

    fn refusals(text: &str) -> Vec<String> {
        Policy::parse(text).unwrap_err().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_policy_written_by_hand_is_read_sorted_and_printed_the_same_ever_after() {
        let policy = Policy::parse(TEXT).unwrap();
        let printed = policy.print().unwrap();
        insta::assert_snapshot!(printed);
        assert_eq!(Policy::parse(&printed).unwrap(), policy);
    }

    #[test]
    fn what_is_refused_is_named_by_its_field() {
        for (text, finding) in [
            (with("contract: 1", "contract: 2"), "contract: is 2; this program reads 1"),
            (with("contract: 1", "contract: 1\nrevision: ''"), "revision: must be 64 hexadecimal digits"),
            (
                with("contract: 1", &format!("contract: 1\nrevision: {}", "0".repeat(64))),
                "revision: is not that of the content",
            ),
            (with("hosts:", "host:"), "server.host: unknown field"),
            (with("tools: [about],", "tools: [abuot],"), "clients[0].tools[0]: `abuot` is no tool of this server"),
            (with("id: team/bot", "id: agent"), "clients[1].id: `agent` is there twice"),
            (
                with("backend: crm-api", "backend: crm"),
                "spec.tools[0].backend: `crm` is no backend of this server; there are: fixed, crm-api",
            ),
            (
                with("http: {url: \"http://crm-api.sales.svc:8080\"}", "http: {url: \"http://x:1\"}, static: {}"),
                "spec.backends[1]: exactly one of",
            ),
            (
                with("/contacts/{id}", "/contacts/{no}"),
                "spec.tools[0].http.path: `no` is no property of inputSchema; there are: id",
            ),
            (with("required: [id], ", ""), "spec.tools[0].http.path: `id` must be among"),
            (with("replicas: 2", "replicas: 61"), "spec.limits.expensiveTools.requests: is 10 for 61 replicas"),
            (
                with("tools: [about], maxRecordsPerQuery: 5", "tools: [about]"),
                "clients[0]: \"maxRecordsPerQuery\" is a required property",
            ),
            (with("per: 1m}]}", "per: 1d}]}"), "clients[0].limits[0].per: must be a duration"),
        ] {
            let found = refusals(&text);
            assert!(found.iter().any(|f| f.starts_with(finding)), "{finding}\nis not among\n{found:#?}");
        }
    }

    #[test]
    fn the_revision_is_that_of_the_content_whatever_its_order() {
        let policy = Policy::parse(TEXT).unwrap();
        let reordered = with("tools: [get_contact, about]", "tools: [about, get_contact]");
        assert_eq!(Policy::parse(&reordered).unwrap().revision(), policy.revision());
        let changed = with("maxRecordsPerQuery: 10", "maxRecordsPerQuery: 11");
        assert_ne!(Policy::parse(&changed).unwrap().revision(), policy.revision());
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(text in "\\PC{0,40}", number in any::<i64>(), float in -1e9..1e9f64, uid in "[a-z0-9-]{1,20}") {
            let mut policy = Policy::parse(TEXT).unwrap();
            policy.clients[0].uid = uid;
            policy.spec.tools[0].description = format!("x{text}");
            policy.spec.tools[1].input_schema.0.insert("default".into(), serde_json::json!({"t": text, "n": number, "f": float}));
            let policy = Policy::new(policy.server, policy.spec, policy.clients).unwrap();
            prop_assert_eq!(Policy::parse(&policy.print().unwrap()).unwrap(), policy);
        }
    }
}
