//! A folder's objects put together by the same rules as a cluster's, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{
    Finding, Findings, McpClient, McpServerSpec, NamespacedName,
    condition::Reason,
    contract::{ApiKeyDigest, ServerKeys, Version},
};

use super::{Folder, Kind, ObjectId, Problem, Severity};
use crate::{
    build,
    object::Object,
    validate::{self, ClientInput, ClientOutcome, Published, ServerInput, ServerPlan},
};

/// What a cluster knows of objects, and a folder does not.
pub trait Facts {
    /// An object's UID and the time of its making.
    fn metadata(&self, id: &ObjectId) -> ObjectMeta;
    /// The digests of a client's keys.
    fn keys(&self, client: &NamespacedName) -> Vec<ApiKeyDigest>;
    /// What is in force at a server.
    fn published(&self, server: &NamespacedName) -> Published;
    /// A server's own keys.
    fn server_keys(&self, server: &NamespacedName) -> ServerKeys;
}

/// What is to become of a folder.
pub struct Review {
    /// Each server, as it was looked at, with its plan.
    pub servers: BTreeMap<NamespacedName, (Object<McpServerSpec>, ServerPlan)>,
    /// Each client's metadata and Secret, of those that have one to themselves.
    pub secrets: BTreeMap<NamespacedName, (ObjectMeta, String)>,
    /// In the order of their files.
    pub problems: Vec<Problem>,
}

/// Plans each server of a folder; `adapt` may change its spec beforehand.
pub fn review(folder: &Folder, facts: &impl Facts, adapt: impl Fn(&mut McpServerSpec)) -> Review {
    let mut problems = BTreeSet::new();
    let clients = clients(folder, facts);
    let secrets = secrets(folder, &clients, &mut problems);
    let mut servers = BTreeMap::new();
    for server in folder.servers() {
        let mut object = Object::from(server.clone());
        let name = object.namespaced_name();
        let id = ObjectId { kind: Kind::McpServer, name: name.clone() };
        // The folder's own words are what is judged, before they are adapted to this machine.
        let findings = validate::findings(&object);
        object.metadata = merged(&object.metadata, facts.metadata(&id));
        object.spec = if findings.is_empty() { object.spec } else { Err(findings) };
        if let Ok(spec) = &mut object.spec {
            adapt(spec);
        }
        let input = ServerInput {
            server: object.clone(),
            clients: clients.iter().map(|client| input_of(client, &secrets, facts)).collect(),
            published: facts.published(&name),
            fresh_keys: facts.server_keys(&name),
        };
        let plan = validate::server(&input);
        problems.extend(refused(folder, &id, &plan.findings));
        servers.insert(name, (object, plan));
    }
    for client in &clients {
        accesses(folder, client, &servers, &mut problems);
    }
    Review { servers, secrets, problems: problems.into_iter().collect() }
}

/// Each client's metadata and Secret, of those that have one to themselves.
pub fn holders(folder: &Folder, facts: &impl Facts) -> BTreeMap<NamespacedName, (ObjectMeta, String)> {
    secrets(folder, &clients(folder, facts), &mut BTreeSet::new())
}

fn clients(folder: &Folder, facts: &impl Facts) -> Vec<McpClient> {
    folder.clients().map(|client| with_facts(client, facts)).collect()
}

fn with_facts(client: &McpClient, facts: &impl Facts) -> McpClient {
    let mut client = client.clone();
    let metadata = facts.metadata(&client_id(&client));
    client.metadata = merged(&client.metadata, metadata);
    client
}

fn merged(names: &ObjectMeta, facts: ObjectMeta) -> ObjectMeta {
    ObjectMeta { name: names.name.clone(), namespace: names.namespace.clone(), ..facts }
}

fn client_id(client: &McpClient) -> ObjectId {
    ObjectId { kind: Kind::McpClient, name: Object::from(client.clone()).namespaced_name() }
}

fn input_of(
    client: &McpClient,
    secrets: &BTreeMap<NamespacedName, (ObjectMeta, String)>,
    facts: &impl Facts,
) -> ClientInput {
    let client = Object::from(client.clone());
    let name = client.namespaced_name();
    let keys = if secrets.contains_key(&name) { facts.keys(&name) } else { Vec::new() };
    ClientInput { client, keys: Some(keys) }
}

fn refused<'a>(folder: &Folder, id: &'a ObjectId, findings: &'a Findings) -> impl Iterator<Item = Problem> + use<'a> {
    let file = folder.file(id).to_owned();
    findings.0.iter().map(move |finding| Problem::object(&file, id, finding.clone(), Severity::Refused))
}

/// Which client has which Secret: one that is another's already is left alone, as in a cluster.
fn secrets(
    folder: &Folder,
    clients: &[McpClient],
    problems: &mut BTreeSet<Problem>,
) -> BTreeMap<NamespacedName, (ObjectMeta, String)> {
    let mut owners: BTreeMap<(String, String), ObjectId> = BTreeMap::new();
    for server in folder.servers() {
        let name = Object::from(server.clone()).namespaced_name();
        for version in Version::WRITTEN {
            let secret = (name.namespace.clone(), build::credentials_secret_name(&name.name, *version));
            owners.insert(secret, ObjectId { kind: Kind::McpServer, name: name.clone() });
        }
    }
    let mut secrets = BTreeMap::new();
    let mut oldest_first: Vec<_> = clients.iter().collect();
    oldest_first.sort_by_key(|client| client.metadata.creation_timestamp.as_ref().map(|time| time.0));
    for client in oldest_first {
        let Some(api_key) = &client.spec.credentials.api_key else { continue };
        let id = client_id(client);
        let secret = api_key.secret_name.as_str().to_owned();
        match owners.get(&(id.name.namespace.clone(), secret.clone())) {
            Some(owner) => {
                let finding = Finding::new(
                    "spec.credentials.apiKey.secretName",
                    format!("`{secret}` is the Secret of {owner}; choose another name"),
                );
                problems.insert(Problem::object(folder.file(&id), &id, finding, Severity::Refused));
            }
            None => {
                owners.insert((id.name.namespace.clone(), secret.clone()), id.clone());
                secrets.insert(id.name, (client.metadata.clone(), secret));
            }
        }
    }
    secrets
}

/// What became of each of a client's accesses.
fn accesses(
    folder: &Folder,
    client: &McpClient,
    servers: &BTreeMap<NamespacedName, (Object<McpServerSpec>, ServerPlan)>,
    problems: &mut BTreeSet<Problem>,
) {
    let id = client_id(client);
    problems.extend(refused(folder, &id, &validate::client(&id.name.namespace, &client.spec)));
    let problem = |path: String, message: String, severity| {
        Problem::object(folder.file(&id), &id, Finding::new(path, message), severity)
    };
    for (n, access) in client.spec.access.iter().enumerate() {
        let at = format!("spec.access[{n}]");
        let server = validate::server_of(&access.server_ref, &id.name.namespace);
        let Some((_, plan)) = servers.get(&server) else {
            if !folder.names(&ObjectId { kind: Kind::McpServer, name: server.clone() }) {
                let message = format!("McpServer {server} is not in this folder");
                problems.insert(problem(format!("{at}.serverRef"), message, Severity::Warning));
            }
            continue;
        };
        let Some(outcome) = plan.outcomes.get(&id.name) else { continue };
        problems.extend(refused(folder, &id, &outcome.findings));
        let severity = if outcome.accepted.is_true() { Severity::Warning } else { Severity::Finding };
        match outcome.accepted.reason {
            Reason::ServerInvalid | Reason::Invalid | Reason::Granted => {}
            _ => {
                problems.insert(problem(at.clone(), outcome.accepted.message.clone(), severity));
            }
        }
        for (m, message) in missing_tools(&access.tools, &server, plan, outcome) {
            problems.insert(problem(format!("{at}.tools[{m}]"), message, Severity::Finding));
        }
    }
}

fn missing_tools(
    asked: &[String],
    server: &NamespacedName,
    plan: &ServerPlan,
    outcome: &ClientOutcome,
) -> Vec<(usize, String)> {
    let Some(documents) = plan.documents.as_ref().filter(|_| !outcome.resolved_refs.is_true()) else {
        return Vec::new();
    };
    let known: Vec<_> = documents.policy.server().spec.tools.iter().map(|tool| tool.name.as_str()).collect();
    let missing = |(_, name): &(usize, &String)| *name != "*" && !known.contains(&name.as_str());
    let message = |name: &String| format!("`{name}` is no tool of McpServer {server}; there are: {}", known.join(", "));
    asked.iter().enumerate().filter(missing).map(|(m, name)| (m, message(name))).collect()
}
