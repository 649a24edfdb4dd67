//! The server's half of a policy as it is written, which this release may not be able to read as a whole.
//!
//! [`HalfReading::strict`] is how people's documents are read. [`HalfReading::parts`] is how servers read what is published, maybe by
//! another release: each backend and each tool by itself, whatever its bounds are. A field that is not known may be a restriction,
//! so what contains it is refused: a tool, a backend, or otherwise the whole half.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    admission::ClientRule,
    backend::Backend,
    envelope::{flawless, unknown_fields},
    server_half::{ServerHalf, ServerIdentity, ServerSpec},
    settings::{Audit, AuditArguments, LogLevel, OnOverflow},
    tool::Tool,
};
use crate::{
    Finding, Findings,
    document::{self, Flaw},
};

const KNOWN: [&str; 3] = ["server", "spec", "clients"];
/// The settings of `spec` that are read by themselves, because servers can do without.
const SEPARATE: [&str; 5] = ["backends", "tools", "clients", "audit", "logLevel"];

/// The server's half as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct HalfReading {
    /// `server`, `spec`, and fields that are not known.
    pub(super) fields: Map<String, Value>,
    pub(super) flaws: Vec<Flaw>,
}

/// What a server can use of a server's half.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerParts {
    /// With the backends and tools that can be read, in their order.
    pub half: ServerHalf,
    /// Where each of these backends and tools is in its list.
    pub(crate) backends_at: Vec<usize>,
    pub(crate) tools_at: Vec<usize>,
    /// The other backends and tools.
    pub(crate) refused: Vec<LeftOut>,
    /// What is wrong with settings that have a stricter form in `half`.
    pub(crate) findings: Findings,
    /// What is wrong with settings that servers do not depend on.
    pub(crate) notes: Findings,
}

/// A backend or a tool that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub kind: PartKind,
    /// As it is written; `None` if there is none.
    pub name: Option<String>,
    pub findings: Findings,
}

/// What can be left out of a server's half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    Backend,
    Tool,
}

impl HalfReading {
    /// Reads the half as a document of this release.
    ///
    /// # Errors
    /// Returns everything in it that cannot be read.
    pub fn strict(&self) -> Result<ServerHalf, Findings> {
        let mut findings = unknown_fields(&self.fields, &KNOWN);
        match (self.take("server"), self.take("spec")) {
            (Ok(server), Ok(spec)) => findings.or(ServerHalf { server, spec }),
            (server, spec) => {
                findings.0.extend([server.err(), spec.err()].into_iter().flatten().flat_map(|found| found.0));
                Err(findings)
            }
        }
    }

    fn take<T: JsonSchema + DeserializeOwned + 'static>(&self, name: &str) -> Result<T, Findings> {
        flawless(&self.flaws, &[name])?;
        document::decode(self.fields.get(name).cloned().unwrap_or_default(), name)
    }

    /// Reads the half part by part.
    ///
    /// # Errors
    /// Returns an error if something is not known that is not part of a backend or a tool, or if a setting cannot be read that all
    /// tools depend on.
    pub fn parts(&self) -> Result<ServerParts, Findings> {
        unknown_fields(&self.fields, &KNOWN).or(())?;
        let server: ServerIdentity = self.decode(&["server"])?;
        if server.replicas == 0 {
            return Err(Finding::new("server.replicas", "must be at least 1").into());
        }
        let mut spec: ServerSpec = self.settings()?;
        let mut refused = Vec::new();
        let (backends_at, backends) = self.items::<Backend>(PartKind::Backend, &mut refused)?.into_iter().unzip();
        let (tools_at, tools) = self.items::<Tool>(PartKind::Tool, &mut refused)?.into_iter().unzip();
        (spec.backends, spec.tools) = (backends, tools);
        let (mut findings, mut notes) = <(Findings, Findings)>::default();
        let is_set = |name| self.at(&["spec", name]).is_some();
        if is_set("audit") {
            // Nothing is recorded of arguments that should not be, and no call goes unrecorded.
            let strictest = Audit { arguments: AuditArguments::None, on_overflow: OnOverflow::Refuse };
            spec.audit = or(self.decode(&["spec", "audit"]), strictest, &mut findings);
        }
        if is_set("logLevel") {
            spec.log_level = or(self.decode(&["spec", "logLevel"]), LogLevel::default(), &mut notes);
        }
        if is_set("clients") {
            spec.clients = or(self.decode::<Vec<ClientRule>>(&["spec", "clients"]), Vec::new(), &mut notes);
        }
        Ok(ServerParts { half: ServerHalf { server, spec }, backends_at, tools_at, refused, findings, notes })
    }

    /// The spec without what is read by itself.
    fn settings(&self) -> Result<ServerSpec, Findings> {
        let Some(Value::Object(spec)) = self.fields.get("spec") else {
            return Err(Finding::new("spec", "must be a mapping").into());
        };
        let mut rest = Map::new();
        for (name, value) in spec.iter().filter(|(name, _)| !SEPARATE.contains(&name.as_str())) {
            flawless(&self.flaws, &["spec", name])?;
            rest.insert(name.clone(), value.clone());
        }
        rest.extend(["backends", "tools"].map(|name| (name.to_owned(), Value::Array(Vec::new()))));
        document::decode_published(&rest.into(), "spec")
    }

    /// The items of a list that can be read, with their positions.
    fn items<T: JsonSchema + DeserializeOwned + 'static>(
        &self,
        kind: PartKind,
        refused: &mut Vec<LeftOut>,
    ) -> Result<Vec<(usize, T)>, Findings> {
        let list = kind.list();
        let items = self.at(&["spec", list]).and_then(Value::as_array).filter(|items| !items.is_empty());
        let items = items.ok_or_else(|| Finding::new(format!("spec.{list}"), "must be a list of at least one"))?;
        flawless_itself(&self.flaws, &["spec", list])?;
        let mut read = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            let part = match n < kind.most() {
                true => self.decode(&["spec", list, &n.to_string()]),
                false => Err(Finding::new(format!("spec.{list}[{n}]"), "is one too many").into()),
            };
            match part {
                Ok(part) => read.push((n, part)),
                Err(findings) => {
                    let name = item.get("name").and_then(Value::as_str).map(str::to_owned);
                    refused.push(LeftOut { kind, name, findings });
                }
            }
        }
        Ok(read)
    }

    fn decode<T: JsonSchema + DeserializeOwned + 'static>(&self, segments: &[&str]) -> Result<T, Findings> {
        flawless(&self.flaws, segments)?;
        let path = document::path(segments);
        document::decode_published(self.at(segments).unwrap_or(&Value::Null), &path)
    }

    /// The value at a place; `None` if there is none.
    pub(super) fn at(&self, segments: &[&str]) -> Option<&Value> {
        let (first, rest) = segments.split_first()?;
        rest.iter().try_fold(self.fields.get(*first)?, |value, segment| match value {
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
            value => value.get(segment),
        })
    }
}

impl PartKind {
    /// The most that a server loads: a multiple of what this release allows, so that another one may allow more.
    fn most(self) -> usize {
        match self {
            Self::Backend => 256,
            Self::Tool => 1024,
        }
    }

    /// The list of `spec` that contains such parts.
    pub fn list(self) -> &'static str {
        match self {
            Self::Backend => "backends",
            Self::Tool => "tools",
        }
    }
}

/// # Errors
/// Returns the flaws of a list as such, or of what contains it; those of its items are theirs.
fn flawless_itself(flaws: &[Flaw], segments: &[&str]) -> Result<(), Findings> {
    let of_list = flaws.iter().filter(|flaw| flaw.segments.len() <= segments.len() && flaw.concerns(segments));
    Findings(of_list.map(Flaw::finding).collect()).or(())
}

fn or<T>(read: Result<T, Findings>, otherwise: T, findings: &mut Findings) -> T {
    read.unwrap_or_else(|found| {
        findings.0.extend(found.0);
        otherwise
    })
}
