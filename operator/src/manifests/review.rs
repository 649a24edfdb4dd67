//! A folder's objects put together by the same rules as those of a cluster, and everything that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_crds::{
    Finding, Findings, McpServerSpec, NamespacedName, check, client::Access, condition::Reason, contract::ServerHalf,
    nearest::suggestion,
};

use super::{
    cluster_state::ClusterState,
    folder::Folder,
    object::ObjectId,
    problem::{Problem, Severity},
    secrets::{Secrets, metadata, secrets},
};
use crate::{
    object::Object,
    validate::{self, CheckedClient, ClientInput, ServerInput, ServerPlan, ToolDecision},
};

/// What the objects of a folder amount to.
pub struct Review {
    /// Each server with its plan.
    pub servers: BTreeMap<NamespacedName, (Object<McpServerSpec>, ServerPlan)>,
    pub secrets: Secrets,
    /// Sorted by file.
    pub problems: Vec<Problem>,
}

/// Plans each server of a folder. `adapt` changes the halves of the servers that have no errors; what it makes of them is checked, too.
pub fn review(folder: &Folder, cluster: &impl ClusterState, adapt: impl Fn(&mut ServerHalf)) -> Review {
    let (secrets, problems) = secrets(folder, cluster);
    let mut problems = BTreeSet::from_iter(problems);
    let clients = clients(folder, cluster, &secrets);
    let mut servers = BTreeMap::new();
    for (name, server) in folder.servers() {
        let id = ObjectId::server(name);
        let spec = match folder.mistaken_server(name) {
            Some(mistake) => Err(mistake.clone()),
            None => Ok(server.spec.clone()),
        };
        let object = Object { metadata: metadata(&id, cluster), spec };
        let checked = validate::server_half(&object, cluster.cluster_domain()).and_then(|half| {
            let mut adapted = ServerHalf::clone(&half);
            adapt(&mut adapted);
            if adapted == *half { Ok(half) } else { check::server_half(adapted).map(|checked| checked.half().clone()) }
        });
        let input = ServerInput {
            server: object,
            cluster_domain: cluster.cluster_domain().to_owned(),
            clients: clients.iter().filter(|client| concerns(folder, client, name)).cloned().collect(),
            published: cluster.published(name),
            is_credentials_document_stuck: false,
            fresh_keys: cluster.server_keys(name),
        };
        let plan = validate::plan(&input, checked);
        if folder.mistaken_server(name).is_none() {
            // What is wrong with the manifest is reported with its file.
            problems.extend(refused(folder, &id, &plan.findings));
        }
        servers.insert(name.clone(), (input.server, plan));
    }
    for client in &clients {
        client_problems(folder, client, &servers, &mut problems);
    }
    Review { servers, secrets, problems: problems.into_iter().collect() }
}

fn clients(folder: &Folder, cluster: &impl ClusterState, secrets: &Secrets) -> Vec<ClientInput> {
    let input = |(name, client): (&NamespacedName, &portcullis_crds::McpClient)| {
        let id = ObjectId::client(name);
        let spec = match folder.mistaken_client(name) {
            Some(mistake) => Err(mistake.clone()),
            None => Ok(client.spec.clone()),
        };
        let object = Object { metadata: metadata(&id, cluster), spec };
        let credentials = if secrets.contains_key(name) { cluster.credentials(name) } else { Vec::new() };
        ClientInput { client: CheckedClient::new(object), credentials: Some(credentials) }
    };
    folder.clients().map(input).collect()
}

/// Whether a client names the server, or may still have access to it because it cannot be read what it names.
fn concerns(folder: &Folder, client: &ClientInput, server: &NamespacedName) -> bool {
    let object = client.client.object();
    let mistake = folder.mistaken_client(&object.namespaced_name());
    client.client.names(server) || mistake.is_some_and(|mistake| mistake.partial.access.is_none())
}

fn refused<'a>(folder: &Folder, id: &'a ObjectId, findings: &'a Findings) -> impl Iterator<Item = Problem> + use<'a> {
    let file = folder.file(id).to_owned();
    findings.0.iter().map(move |finding| Problem::object(&file, id, finding.clone(), Severity::Refused))
}

/// What is wrong with a client, and what it is not granted.
fn client_problems(
    folder: &Folder,
    client: &ClientInput,
    servers: &BTreeMap<NamespacedName, (Object<McpServerSpec>, ServerPlan)>,
    problems: &mut BTreeSet<Problem>,
) {
    let object = client.client.object();
    let id = ObjectId::client(&object.namespaced_name());
    if folder.mistaken_client(&id.name).is_some() {
        // Reported with its file.
        return;
    }
    problems.extend(refused(folder, &id, client.client.findings()));
    let Ok(spec) = &object.spec else { return };
    for (n, access) in spec.access.iter().enumerate() {
        let at = format!("spec.access[{n}]");
        let server = validate::server_of(&access.server_ref, object.namespace());
        let found = match servers.get(&server) {
            Some((_, plan)) => {
                let decision = plan.decisions.get(&id.name);
                problems.extend(decision.into_iter().flat_map(|it| refused(folder, &id, &it.findings)));
                access_problems(&at, access, &server, &id.name, plan)
            }
            None if folder.names(&ObjectId::server(&server)) => Vec::new(),
            None => {
                let message = format!("McpServer {server} is not among these manifests{}", near(&server, servers));
                vec![(Finding::new(format!("{at}.serverRef"), message), Severity::Warning)]
            }
        };
        let problem = |(finding, severity)| Problem::object(folder.file(&id), &id, finding, severity);
        problems.extend(found.into_iter().map(problem));
    }
}

/// A suggestion in place of a server that does not exist: of the same name in another namespace, or of a name that is near.
fn near<T>(server: &NamespacedName, servers: &BTreeMap<NamespacedName, T>) -> String {
    match servers.keys().find(|known| known.name == server.name) {
        Some(known) => format!(" (did you mean `{known}`?)"),
        None => {
            let known: Vec<_> = servers.keys().map(ToString::to_string).collect();
            suggestion(&server.to_string(), known.iter().map(String::as_str))
        }
    }
}

/// What an access requests and is not granted.
fn access_problems(
    at: &str,
    access: &Access,
    server: &NamespacedName,
    client: &NamespacedName,
    plan: &ServerPlan,
) -> Vec<(Finding, Severity)> {
    let Some(decision) = plan.decisions.get(client) else { return Vec::new() };
    let accepted = decision.outcome(plan.findings.is_empty()).accepted;
    let mut found = Vec::new();
    // Errors of the client and of the server are findings of their own.
    if !matches!(accepted.reason, Reason::ServerInvalid | Reason::Invalid | Reason::Granted) {
        let severity = if accepted.is_true() { Severity::Warning } else { Severity::Finding };
        found.push((Finding::new(at, accepted.message), severity));
    }
    let Ok(grant) = &decision.result else { return found };
    let known: Vec<_> = grant.tools().filter(|(_, it)| *it != ToolDecision::NoSuchTool).map(|(name, _)| name).collect();
    for (m, name) in access.tools.iter().enumerate() {
        if name != "*" && !known.contains(&name.as_str()) {
            let (suggestion, tools) = (suggestion(name, known.iter().copied()), check::listed(known.iter().copied()));
            let message = format!("`{name}` is not a tool of McpServer {server}{suggestion}; its tools: {tools}");
            found.push((Finding::new(format!("{at}.tools[{m}]"), message), Severity::Finding));
        }
    }
    found
}
