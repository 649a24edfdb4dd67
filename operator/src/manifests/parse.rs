//! The objects of one file: McpServers and McpClients, decoded as strictly as by the API server. Other kinds are skipped.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{
    Finding, Findings, GROUP, McpClient, McpClientSpec, McpServer, McpServerSpec, NamespacedName, VERSION, document,
    name::ObjectName,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    object::{Kind, Manifest, ObjectId},
    problem::{Problem, Severity},
};

/// The namespace of an object that names none, as for kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// What a file contains.
#[derive(Default)]
pub(super) struct Parsed {
    /// Each object that has a name, in order; `None` in place of one that cannot be decoded.
    pub objects: Vec<(ObjectId, Option<Manifest>)>,
    pub problems: Vec<Problem>,
    /// Whether a part of the file could be any object.
    pub is_broken: bool,
}

pub(super) fn parse(file: &str, text: &str) -> Parsed {
    let mut parser = Parser { file, parsed: Parsed::default() };
    match document::split(text) {
        Ok(documents) => {
            for (n, document) in documents.into_iter().enumerate() {
                parser.document(&format!("document {} (empty ones not counted)", n + 1), document);
            }
        }
        Err(error) => {
            let position = Some((error.line, error.column));
            parser.broken(Problem { position, ..Problem::file(file, error.message) });
        }
    }
    parser.parsed
}

struct Parser<'a> {
    file: &'a str,
    parsed: Parsed,
}

impl Parser<'_> {
    fn broken(&mut self, problem: Problem) {
        self.parsed.problems.push(problem);
        self.parsed.is_broken = true;
    }

    /// Adds the objects of a document; `at` is its place in the file.
    fn document(&mut self, at: &str, document: Value) {
        let mut fields = match document {
            Value::Object(fields) => fields,
            Value::Null => return,
            // Probably half of an object that is being written.
            _ => {
                let message = format!("{at}: must be a mapping with apiVersion and kind");
                return self.broken(Problem::file(self.file, message));
            }
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        if version == "v1" && kind.ends_with("List") {
            self.list(at, fields.remove("items").unwrap_or_default());
        } else {
            match kind_of(&version, &kind) {
                Ok(Some(kind)) => self.object(kind, fields),
                Ok(None) => {}
                Err(message) => self.broken(Problem::file(self.file, message)),
            }
        }
    }

    fn list(&mut self, at: &str, items: Value) {
        match items {
            Value::Array(items) => {
                for (n, item) in items.into_iter().enumerate() {
                    self.document(&format!("{at}: items[{n}]"), item);
                }
            }
            Value::Null => {}
            _ => self.broken(Problem::file(self.file, format!("{at}: items: must be a list"))),
        }
    }

    fn object(&mut self, kind: Kind, mut fields: Map<String, Value>) {
        let mut findings = Findings::default();
        let Some(name) = name(&mut fields, &mut findings) else {
            for finding in findings.0 {
                let finding = Finding::new(format!("{kind}: {}", finding.path), finding.message);
                self.broken(Problem { finding, ..Problem::file(self.file, "") });
            }
            return;
        };
        let metadata = ObjectMeta {
            name: Some(name.name.clone()),
            namespace: Some(name.namespace.clone()),
            ..ObjectMeta::default()
        };
        let manifest = match kind {
            Kind::McpServer => spec::<McpServerSpec>(&mut fields, &mut findings)
                .map(|spec| Manifest::Server(Box::new(McpServer { metadata, spec, status: None }))),
            Kind::McpClient => spec::<McpClientSpec>(&mut fields, &mut findings)
                .map(|spec| Manifest::Client(Box::new(McpClient { metadata, spec, status: None }))),
        };
        for name in fields.keys().filter(|name| !["apiVersion", "kind", "status"].contains(&name.as_str())) {
            findings.add(name.clone(), "unknown field; allowed fields: apiVersion, kind, metadata, spec, status");
        }
        let manifest = manifest.filter(|_| findings.is_empty());
        let id = ObjectId { kind, name };
        let refused = |finding| Problem::object(self.file, &id, finding, Severity::Refused);
        self.parsed.problems.extend(findings.0.into_iter().map(refused));
        self.parsed.objects.push((id, manifest));
    }
}

/// Which resource a document contains; `None` if it is of another API group.
fn kind_of(version: &str, kind: &str) -> Result<Option<Kind>, String> {
    let is_of_group = version.split('/').next() == Some(GROUP);
    let Some(known) = Kind::ALL.into_iter().find(|known| known.as_str() == kind) else {
        let kinds = Kind::ALL.map(Kind::as_str).join(", ");
        let message = format!("kind: `{kind}` is not a kind of {GROUP}; its kinds: {kinds}");
        return if is_of_group { Err(message) } else { Ok(None) };
    };
    let allowed = format!("{GROUP}/{VERSION}");
    if version == allowed { Ok(Some(known)) } else { Err(format!("apiVersion: must be {allowed} for an {kind}")) }
}

/// The name and namespace of an object. The rest of its metadata is not used: the UID and the times in a file are those of another
/// cluster.
fn name(fields: &mut Map<String, Value>, findings: &mut Findings) -> Option<NamespacedName> {
    let metadata = fields.remove("metadata").unwrap_or_else(|| Value::Object(Map::new()));
    let metadata =
        document::decode::<ObjectMeta>(metadata, "metadata").map_err(|found| findings.0.extend(found.0)).ok()?;
    let namespace = metadata.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    for (field, name) in [("name", metadata.name.as_ref()), ("namespace", Some(&namespace))] {
        match name.map(|name| name.parse::<ObjectName>()) {
            Some(Ok(_)) => {}
            Some(Err(error)) => findings.add(format!("metadata.{field}"), error.to_string()),
            None => findings.add(format!("metadata.{field}"), "is missing; an object needs a name"),
        }
    }
    let name = NamespacedName { namespace, name: metadata.name.unwrap_or_default() };
    findings.is_empty().then_some(name)
}

fn spec<S: JsonSchema + DeserializeOwned + 'static>(
    fields: &mut Map<String, Value>,
    findings: &mut Findings,
) -> Option<S> {
    let Some(spec) = fields.remove("spec") else {
        findings.add("spec", "is missing");
        return None;
    };
    document::decode(spec, "spec").map_err(|found| findings.0.extend(found.0)).ok()
}
