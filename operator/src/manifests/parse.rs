//! One file's objects: McpServers and McpClients, decoded as strictly as the API server does. Other kinds are skipped.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{
    Finding, Findings, GROUP, McpClient, McpClientSpec, McpServer, McpServerSpec, NamespacedName, VERSION, document,
    name::ObjectName,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Problem, Severity};

/// The namespace of an object that names none, as kubectl has it.
const DEFAULT_NAMESPACE: &str = "default";

/// Which of the two resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    McpServer,
    McpClient,
}

/// Which object: printed as `McpServer sales/crm`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    pub kind: Kind,
    pub name: NamespacedName,
}

/// An object as its file says it: with a name and a namespace, without UID or time.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    Server(Box<McpServer>),
    Client(Box<McpClient>),
}

/// What was found in a file.
pub(super) struct Parsed {
    /// Each object that has a name, in order; none in place of one that can't be decoded.
    pub objects: Vec<(ObjectId, Option<Manifest>)>,
    pub problems: Vec<Problem>,
    /// Whether there is something in the file of which nobody can say which object it is.
    pub is_broken: bool,
}

pub(super) fn parse(file: &str, text: &str) -> Parsed {
    let mut parsed = Parsed { objects: Vec::new(), problems: Vec::new(), is_broken: false };
    match document::split(text) {
        Ok(documents) => {
            for (n, document) in documents.into_iter().enumerate() {
                parsed.document(file, &format!("document {} (empty ones not counted)", n + 1), document);
            }
        }
        Err(error) => {
            let position = Some((error.line, error.column));
            parsed.broken(Problem { position, ..Problem::file(file, error.message) });
        }
    }
    parsed
}

impl Parsed {
    fn broken(&mut self, problem: Problem) {
        self.problems.push(problem);
        self.is_broken = true;
    }

    /// Takes the document that is `at` a place in the file.
    fn document(&mut self, file: &str, at: &str, document: Value) {
        let mut fields = match document {
            Value::Object(fields) => fields,
            Value::Null => return,
            // Half of an object that an editor has not yet written, as like as not.
            _ => return self.broken(Problem::file(file, format!("{at}: must be a mapping with apiVersion and kind"))),
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if version == "v1" && kind.ends_with("List") {
            match fields.remove("items") {
                Some(Value::Array(items)) => {
                    for (n, item) in items.into_iter().enumerate() {
                        self.document(file, &format!("{at}: items[{n}]"), item);
                    }
                }
                None | Some(Value::Null) => {}
                Some(_) => self.broken(Problem::file(file, format!("{at}: items: must be a list"))),
            }
            return;
        }
        let ours = format!("{GROUP}/{VERSION}");
        let is_of_group = version.split('/').next() == Some(GROUP);
        let kind = match kind.as_str() {
            "McpServer" => Kind::McpServer,
            "McpClient" => Kind::McpClient,
            _ if is_of_group => {
                let message = format!("kind: `{kind}` is none of {GROUP}; there are: McpServer, McpClient");
                return self.broken(Problem::file(file, message));
            }
            _ => return,
        };
        if version != ours {
            return self.broken(Problem::file(file, format!("apiVersion: must be {ours} for a {kind}")));
        }
        let mut findings = Findings::default();
        let metadata = metadata(&mut fields, &mut findings);
        let Some(id) = metadata.as_ref().and_then(|metadata| id(kind, metadata)) else {
            if findings.is_empty() {
                findings.add("metadata.name", "is missing; an object needs a name");
            }
            for finding in findings.0 {
                let finding = Finding::new(format!("{kind}: {}", finding.path), finding.message);
                self.broken(Problem { finding, ..Problem::file(file, "") });
            }
            return;
        };
        let manifest = match kind {
            Kind::McpServer => decode::<McpServerSpec>(&mut fields, &mut findings).map(|spec| {
                let server = McpServer { metadata: metadata.unwrap_or_default(), spec, status: None };
                Manifest::Server(Box::new(server))
            }),
            Kind::McpClient => decode::<McpClientSpec>(&mut fields, &mut findings).map(|spec| {
                let client = McpClient { metadata: metadata.unwrap_or_default(), spec, status: None };
                Manifest::Client(Box::new(client))
            }),
        };
        for name in fields.keys().filter(|name| !["apiVersion", "kind", "status"].contains(&name.as_str())) {
            findings.add(name.clone(), "unknown field; there are: apiVersion, kind, metadata, spec, status");
        }
        let manifest = manifest.filter(|_| findings.is_empty());
        let refused = |finding| Problem::object(file, &id, finding, Severity::Refused);
        self.problems.extend(findings.0.into_iter().map(refused));
        self.objects.push((id, manifest));
    }
}

/// The name and namespace alone count: a file's UID or time is another cluster's.
fn metadata(fields: &mut Map<String, Value>, findings: &mut Findings) -> Option<ObjectMeta> {
    let metadata = fields.remove("metadata").unwrap_or_else(|| Value::Object(Map::new()));
    match document::decode::<ObjectMeta>(metadata, "metadata") {
        Ok(metadata) => {
            let namespace = metadata.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
            for (field, name) in [("name", metadata.name.as_ref()), ("namespace", Some(&namespace))] {
                if let Some(Err(error)) = name.map(|name| name.parse::<ObjectName>()) {
                    findings.add(format!("metadata.{field}"), error.to_string());
                }
            }
            let known = ObjectMeta { name: metadata.name, namespace: Some(namespace), ..ObjectMeta::default() };
            findings.is_empty().then_some(known)
        }
        Err(found) => {
            findings.0.extend(found.0);
            None
        }
    }
}

fn id(kind: Kind, metadata: &ObjectMeta) -> Option<ObjectId> {
    let (namespace, name) = (metadata.namespace.clone()?, metadata.name.clone()?);
    Some(ObjectId { kind, name: NamespacedName { namespace, name } })
}

fn decode<S: JsonSchema + DeserializeOwned + 'static>(
    fields: &mut Map<String, Value>,
    findings: &mut Findings,
) -> Option<S> {
    let Some(spec) = fields.remove("spec") else {
        findings.add("spec", "is missing");
        return None;
    };
    document::decode(spec, "spec").map_err(|found| findings.0.extend(found.0)).ok()
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::McpServer => "McpServer",
            Self::McpClient => "McpClient",
        })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
