use std::{collections::BTreeMap, fmt::Write};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use portcullis_crds::{
    Finding, Findings, McpClient, McpClientSpec, McpServer, McpServerSpec, NamespacedName, ToolName,
    client::PartialClientSpec,
    condition::Reason,
    contract::{ApiKeyDigest, KeyDigest},
    server::PartialServerSpec,
};
use serde_json::json;

use super::*;
use crate::{
    build::CLUSTER_DOMAIN,
    credentials::{IssuedCredential, server_keys},
    object::{Object, Undecodable},
};

mod admission;
mod conditions;
mod documents;
mod errors;
mod grants;
mod laws;
mod published;

/// A server with two tools that read and one that writes, and these further fields.
fn server_with(more: &str) -> Object<McpServerSpec> {
    let text = format!(
        "{{apiVersion: portcullis.dev/v1alpha1, kind: McpServer, metadata: {{name: crm, namespace: sales, uid: s}},
          spec: {{backends: [{{name: fixed, static: {{}}}}],
            tools: [
              {{name: read, description: x, backend: fixed, static: {{text: hi}}}},
              {{name: find, description: x, backend: fixed, static: {{text: hi}}}},
              {{name: write, description: x, backend: fixed, effect: Write, static: {{text: hi}}}}],
            {more}}}}}"
    );
    serde_yaml::from_str::<McpServer>(&text).unwrap().into()
}

fn client_object(namespace: &str, name: &str, age: i64, access: &str) -> Object<McpClientSpec> {
    let text = format!(
        "{{apiVersion: portcullis.dev/v1alpha1, kind: McpClient,
          metadata: {{name: {name}, namespace: {namespace}, uid: {namespace}-{name}}},
          spec: {{access: [{access}], credentials: {{apiKey: {{secretName: {name}-key}}}}}}}}"
    );
    let mut client: McpClient = serde_yaml::from_str(&text).unwrap();
    let created = Timestamp::from_second(1_000_000_000 - age).unwrap();
    client.metadata.creation_timestamp = Some(Time(created));
    client.into()
}

/// A client that is `age` seconds old, with a key of its own.
fn client_of(namespace: &str, name: &str, age: i64, access: &str) -> ClientInput {
    let client = CheckedClient::new(client_object(namespace, name, age, access));
    ClientInput { client, credentials: Some(vec![key_of(name)]) }
}

fn key_of(name: &str) -> IssuedCredential {
    IssuedCredential::ApiKey(digest_of(name))
}

fn digest_of(name: &str) -> ApiKeyDigest {
    let sha256 = KeyDigest::of(name.as_bytes());
    ApiKeyDigest { id: sha256.key_id(), sha256 }
}

fn input(server: &str, clients: Vec<ClientInput>) -> ServerInput {
    ServerInput {
        server: server_with(server),
        cluster_domain: CLUSTER_DOMAIN.into(),
        clients,
        published: Published::default(),
        is_credentials_document_stuck: false,
        fresh_keys: server_keys([7; 64]),
    }
}

/// The plan for `next` once `plan` is published.
fn after(plan: &ServerPlan, mut next: ServerInput) -> ServerPlan {
    next.published = Published::from(plan.documents.as_ref().unwrap());
    server(&next)
}

/// A line for each client: what the policy grants it, and its condition `Accepted`. A second line if it names what does not exist.
fn summary(plan: &ServerPlan) -> String {
    let mut text = String::new();
    for (name, outcome) in plan.outcomes() {
        let entries = plan.documents.iter().flat_map(|documents| documents.policy.clients());
        let entry = entries.into_iter().find(|entry| entry.id.resolve("sales") == *name);
        let granted = entry.map_or("nothing".to_owned(), |entry| {
            let tools: Vec<_> = entry.tools.iter().map(|tool| tool.as_str()).collect();
            let writes = if entry.allow_write { " writes" } else { "" };
            let rates: Vec<_> = entry.limits.iter().map(|rate| format!("{}/{}", rate.requests, rate.per)).collect();
            format!("[{}] {} records{writes} {}", tools.join(" "), entry.max_records_per_query, rates.join(" "))
        });
        let accepted = &outcome.accepted;
        writeln!(text, "{name}: {granted} | {} {}: {}", accepted.status.as_str(), accepted.reason, accepted.message)
            .unwrap();
        if !outcome.resolved_refs.is_true() {
            writeln!(text, "    {}: {}", outcome.resolved_refs.reason, outcome.resolved_refs.message).unwrap();
        }
    }
    text
}

fn lines(findings: &Findings) -> String {
    findings.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
