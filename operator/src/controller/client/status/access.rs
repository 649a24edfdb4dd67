//! The part of a client's status about its access to one server.

use portcullis_crds::{
    NamespacedName,
    client::{ClientServerStatus, ServerRefStatus},
    condition::{ConditionType, Reason},
};

use super::input::StatusInput;
use crate::{
    condition::{ConditionState, ConditionStatus},
    controller::{conditions::ConditionWriter, memory::ServerReport, server::Confirmation},
    validate::ClientOutcome,
};

pub struct Access {
    pub server: NamespacedName,
    outcome: Option<ClientOutcome>,
    accepted: ConditionState,
    resolved: ConditionState,
    pub confirmation: Confirmation,
}

impl Access {
    /// `report` is `None` if there is no such server.
    pub fn new(name: &NamespacedName, report: Option<&ServerReport>) -> Self {
        let server = name.clone();
        let Some(report) = report else {
            let message = format!("there is no McpServer {name}");
            let unknown = ConditionState::unknown(Reason::ServerNotFound, message.clone());
            let resolved = ConditionState::no(Reason::ServerNotFound, message);
            let confirmation = Confirmation { synced: unknown.clone(), is_stalled: true, is_unserved: true };
            return Self { server, outcome: None, accepted: unknown, resolved, confirmation };
        };
        let confirmation = report.confirmation.clone();
        let Some(outcome) = report.outcome.clone() else {
            let removed = ConditionState::of_reason(ConditionStatus::Unknown, Reason::AccessRemoved);
            return Self { server, outcome: None, accepted: removed.clone(), resolved: removed, confirmation };
        };
        let (accepted, resolved) = (outcome.accepted.clone(), outcome.resolved_refs.clone());
        Self { server, accepted, resolved, confirmation, outcome: Some(outcome) }
    }

    pub fn status(&self, input: &StatusInput<'_>) -> ClientServerStatus {
        let previous = previous(input, &self.server).map_or(&[][..], |it| &it.conditions);
        let writer = ConditionWriter { generation: input.generation, previous, now: input.now };
        let conditions = [
            (ConditionType::Accepted, &self.accepted),
            (ConditionType::ResolvedRefs, &self.resolved),
            (ConditionType::PolicySynced, &self.confirmation.synced),
        ];
        ClientServerStatus {
            server_ref: ServerRefStatus { name: self.server.name.clone(), namespace: self.server.namespace.clone() },
            granted: self.outcome.as_ref().and_then(|outcome| outcome.granted.clone()),
            conditions: conditions.map(|(type_, state)| writer.condition(type_, state)).into(),
        }
    }

    /// The first condition that keeps this access from what it asks for.
    pub fn fault(&self) -> Option<&ConditionState> {
        [&self.resolved, &self.accepted].into_iter().find(|state| state.status == ConditionStatus::False)
    }

    /// Whether every pod of the server enforces what the access asks for.
    pub fn is_in_force(&self) -> bool {
        self.fault().is_none() && self.confirmation.synced.is_true()
    }

    /// What is granted, in words; `None` if nothing is.
    pub fn granted(&self) -> Option<String> {
        let granted = self.outcome.as_ref()?.granted.as_ref()?;
        let writes = if granted.allow_write { "may write" } else { "may only read" };
        let narrowed = if self.accepted.reason == Reason::Narrowed { ", less than it asks for" } else { "" };
        let (tools, records) = (granted.tools, granted.max_records_per_query);
        Some(format!("{}: {tools} tools, {records} records a call, {writes}{narrowed}", self.server))
    }
}

fn previous<'a>(input: &'a StatusInput<'_>, server: &NamespacedName) -> Option<&'a ClientServerStatus> {
    let mut servers = input.previous.iter().flat_map(|status| &status.servers);
    servers.find(|it| it.server_ref.name == server.name && it.server_ref.namespace == server.namespace)
}
