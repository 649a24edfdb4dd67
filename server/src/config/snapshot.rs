//! A policy with its credentials, ready to use. It is immutable; a reload makes another one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portcullis_crds::{
    BackendName, ToolName,
    check::CheckedServerHalf,
    contract::{AuditArguments, LogLevel, OnOverflow, ServerHalf},
};

use super::{
    parts::RefusedParts,
    reading::{CredentialsDocument, PolicyDocument},
    tool::Tool,
};
use crate::{
    audit::arguments::DigestKey,
    backend::{Backend, Factory},
    hash::HashSet,
    identity::{Authenticators, Clients, Identity, Presented, Refusal, Sources},
    limiter::LimitStore,
    metrics::Metrics,
    protocol::json,
    session::Sealer,
};

/// What is served now.
pub struct Snapshot {
    /// The revision of the policy whose clients are in force.
    pub revision: String,
    /// The same, if all of that policy is in force: nothing of it was refused.
    pub complete_revision: Option<String>,
    pub credentials_revision: Option<String>,
    /// The same, if nothing of the credentials was refused.
    pub complete_credentials_revision: Option<String>,
    /// What was refused of both.
    pub refused: RefusedParts,
    pub tools: Arc<Tools>,
    /// The replicas that share the limits.
    pub replicas: u16,
    pub limit_store: Arc<dyn LimitStore>,
    pub clients: usize,
    authenticators: Authenticators,
    /// Lower case, without ports.
    pub hosts: HashSet<String>,
    pub records_arguments: bool,
    pub overflow: OnOverflow,
    pub log_level: LogLevel,
    /// Name and version, as JSON.
    pub server_info: String,
    pub sealer: Arc<Sealer>,
    pub digest_key: DigestKey,
}

/// The server's half that is in force, with what was made of it.
#[derive(Clone)]
pub struct ServerInForce {
    pub half: CheckedServerHalf,
    pub tools: Arc<Tools>,
    pub limit_store: Arc<dyn LimitStore>,
}

/// The tools and backends of a policy. Credentials that change do not make them again.
pub struct Tools {
    pub by_name: BTreeMap<ToolName, Tool>,
    pub backends: BTreeMap<BackendName, Backend>,
}

impl Tools {
    /// A backend of `previous` is kept with its state if its spec is the same.
    pub fn new(checked: &CheckedServerHalf, previous: Option<&Self>, factory: &Factory, metrics: &Metrics) -> Self {
        let backends = checked.backends().map(|(backend, parsed)| {
            let previous = previous.and_then(|tools| tools.backends.get(&backend.name));
            (backend.name.clone(), factory.backend(backend, parsed, previous))
        });
        let backends: BTreeMap<_, _> = backends.collect();
        let limits = &checked.half().spec.limits;
        let tools = checked.tools().filter_map(|(tool, compiled)| {
            let work = backends.get(&tool.backend)?.work(&tool.kind, &compiled.kind)?;
            Some((tool.name.clone(), Tool::new(tool, compiled, work, limits, metrics)))
        });
        Self { by_name: tools.collect(), backends }
    }
}

impl Snapshot {
    pub fn new(
        policy: &PolicyDocument,
        server: ServerInForce,
        credentials: Option<&CredentialsDocument>,
        (sealer, digest_key): (Arc<Sealer>, DigestKey),
        (is_policy_complete, are_credentials_complete): (bool, bool),
    ) -> Self {
        let ServerInForce { half, tools, limit_store } = server;
        let ServerHalf { server, spec } = &**half.half();
        let authenticators = Authenticators::new(&Sources {
            realm: &server.name,
            settings: &spec.authentication,
            credentials: credentials.map_or(&[], |credentials| &credentials.clients),
            clients: &Clients::new(&policy.clients, &spec.limits),
        });
        let name = json::string(&server.name);
        Self {
            revision: policy.revision.clone(),
            complete_revision: is_policy_complete.then(|| policy.revision.clone()),
            credentials_revision: credentials.map(|credentials| credentials.revision.clone()),
            complete_credentials_revision: credentials
                .filter(|_| are_credentials_complete)
                .map(|it| it.revision.clone()),
            refused: policy.refused + credentials.map(|credentials| credentials.refused).unwrap_or_default(),
            tools,
            replicas: server.replicas,
            limit_store,
            clients: policy.clients.len(),
            authenticators,
            hosts: server.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            records_arguments: spec.audit.arguments == AuditArguments::Shape,
            overflow: spec.audit.on_overflow,
            log_level: spec.log_level,
            server_info: format!(r#"{{"name":{name},"version":"{}"}}"#, env!("CARGO_PKG_VERSION")),
            sealer,
            digest_key,
        }
    }

    /// Identifies a caller. `now` is the time since 1970.
    ///
    /// # Errors
    /// Returns an error if no credential was presented, if the one that was is not valid, if there is more than one, or if its
    /// client may not call this server.
    pub fn identify<'s>(&'s self, presented: &Presented<'_>, now: Duration) -> Result<Identity<'s>, Refusal<'s>> {
        self.authenticators.identify(presented, now)
    }

    /// How a caller may authenticate, as `WWW-Authenticate` says it to one that did not.
    pub fn challenge(&self) -> &str {
        self.authenticators.challenge()
    }

    /// Identifies a caller again that an earlier snapshot identified. `now` is the time since 1970.
    ///
    /// # Errors
    /// Returns an error if its credential is not valid any more, or if its client may not call this server.
    pub fn identify_again<'s>(&'s self, earlier: &Identity<'_>, now: Duration) -> Result<Identity<'s>, Refusal<'s>> {
        self.authenticators.identify_again(earlier, now)
    }
}
