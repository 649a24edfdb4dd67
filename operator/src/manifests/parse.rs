//! The objects of one file: McpServers and McpClients, decoded as strictly as by the API server. Other kinds are skipped.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{
    Finding, Findings, GROUP, McpClient, McpClientSpec, McpServer, McpServerSpec, NamespacedName, VERSION,
    client::{McpClientStatus, PartialClientSpec},
    document,
    document::Document,
    name::{BackendName, NameError, ObjectName},
    nearest::suggestion,
    server::{McpServerStatus, PartialServerSpec},
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    metadata,
    object::{Kind, Manifest, Mistake, ObjectId, Reading},
    problem::{Problem, Severity},
};
use crate::{credentials::NEW_KEY, object::Undecodable};

/// The namespace of an object that names none, as for kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// What a file contains.
#[derive(Default)]
pub(super) struct Parsed {
    /// Each object that has a name, in order.
    pub objects: Vec<(ObjectId, Reading)>,
    pub problems: Vec<Problem>,
    /// Whether a part of the file could be any object.
    pub is_broken: bool,
}

pub(super) fn parse(file: &str, text: &[u8]) -> Parsed {
    let documents = document::split_each(text);
    let mut parser = Parser { file, is_alone: documents.len() < 2, parsed: Parsed::default() };
    for (n, document) in documents.into_iter().enumerate() {
        match document {
            Document::Whole(document, misread) => {
                parser.document(&format!("document {} (empty ones not counted)", n + 1), document, misread);
            }
            Document::Broken { error, path, fields, may_be_cut_off } => {
                parser.parsed.is_broken |= may_be_cut_off;
                let position = Some((error.line, error.column));
                let problem = Problem { position, ..Problem::file(file, error.message) };
                parser.salvaged(problem, path, fields.unwrap_or_default());
            }
        }
    }
    parser.parsed
}

struct Parser<'a> {
    file: &'a str,
    /// Whether the file has a single document.
    is_alone: bool,
    parsed: Parsed,
}

impl Parser<'_> {
    fn broken(&mut self, problem: Problem) {
        self.parsed.problems.push(problem);
        self.parsed.is_broken = true;
    }

    /// What comes before the words about something without a name, unless it is all that the file contains.
    fn place(&self, at: &str) -> String {
        if self.is_alone && !at.contains("items[") { String::new() } else { format!("{at}: ") }
    }

    /// Adds the objects of a document; `at` is its place in the file. `misread` is what kubectl reads otherwise.
    fn document(&mut self, at: &str, document: Value, misread: Findings) {
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
        let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
        // What a list is called does not matter to kubectl.
        let is_list = known.is_none() && !kind.is_empty() && fields.get("items").is_some_and(Value::is_array);
        if is_list || version == "v1" && kind.ends_with("List") {
            let is_known = kind == "List" || version == format!("{GROUP}/{VERSION}");
            self.list(at, fields.remove("items").unwrap_or_default(), is_known, &misread);
        } else {
            let is_of_group = version.split('/').next() == Some(GROUP);
            let has_no_kind =
                !["kind", "apiVersion"].iter().any(|name| fields.get(*name).is_some_and(Value::is_string));
            match known {
                Some(known) => self.object(known, &version, fields, misread, &self.place(at)),
                None if is_of_group => {
                    let kinds = Kind::ALL.map(Kind::as_str).join(", ");
                    let suggestion = suggestion(&kind, Kind::ALL.map(Kind::as_str));
                    let place = self.place(at);
                    let message = format!("`{kind}` is not a kind of {GROUP}{suggestion}; its kinds: {kinds}");
                    let finding = Finding::new(format!("{place}kind"), message);
                    self.broken(Problem { finding, ..Problem::file(self.file, "") });
                }
                // An object of ours that lost both lines is no file of another program.
                None if has_no_kind && fields.contains_key("metadata") && fields.contains_key("spec") => {
                    let message = format!("{at}: apiVersion and kind: must be set");
                    self.broken(Problem::file(self.file, message));
                }
                None => {}
            }
        }
    }

    /// Adds the object of a document that cannot be read as a whole; `path` is its first field that cannot be read. Without a name and a
    /// kind it could be any object.
    fn salvaged(&mut self, problem: Problem, path: String, fields: Map<String, Value>) {
        let kind = fields.get("kind").and_then(Value::as_str);
        let kind = Kind::ALL.into_iter().find(|known| kind == Some(known.as_str()));
        let metadata = fields.get("metadata").map(|metadata| stored_metadata(metadata.clone()));
        let new_key = metadata.as_ref().and_then(new_key);
        let name = metadata.and_then(|metadata| name(metadata, &mut Findings::default()));
        let (Some(kind), Some(name)) = (kind, name) else { return self.broken(problem) };
        let id = ObjectId { kind, name };
        let message = problem.finding.message;
        // The reader's own path has no field of the last level.
        let rest = message.split_once(": ").filter(|(at, _)| !path.is_empty() && at.starts_with("spec"));
        let finding = Finding::new(path.clone(), rest.map_or(message.as_str(), |(_, rest)| rest));
        let spec = fields.get("spec").map(|spec| stored(kind, spec.clone()));
        let mistake = mistake(kind, spec.as_ref(), Findings::from(finding.clone()));
        self.parsed.problems.push(Problem { object: Some(id.clone()), finding, ..problem });
        self.parsed.objects.push((id, Reading::Mistaken(mistake, new_key)));
    }

    /// `is_known` says whether a cluster has a list of this kind.
    fn list(&mut self, at: &str, items: Value, is_known: bool, misread: &Findings) {
        match items {
            Value::Array(items) => {
                let objects = self.parsed.objects.len();
                for (n, item) in items.into_iter().enumerate() {
                    let of_item = misread.0.iter().filter_map(|finding| {
                        let path = finding.path.strip_prefix(&format!("items[{n}]."))?;
                        Some(Finding::new(path, finding.message.clone()))
                    });
                    let of_item = Findings(of_item.collect());
                    let at = format!("{at}: items[{n}]");
                    if item.get("kind").is_some_and(Value::is_string) && item.get("items").is_none_or(Value::is_null) {
                        self.document(&at, item, of_item);
                    } else {
                        let message = format!("{at}: must be an object with apiVersion and kind, and not a list");
                        self.broken(Problem::file(self.file, message));
                    }
                }
                let is_of_list = |finding: &&Finding| !finding.path.starts_with("items[");
                if self.parsed.objects.len() == objects {
                    return;
                }
                let unknown =
                    Finding::new("kind", "is not a list that a cluster knows; write `apiVersion: v1` and `kind: List`");
                let unknown = (!is_known).then_some(unknown);
                for finding in misread.0.iter().filter(is_of_list).chain(&unknown) {
                    let problem = Problem::file(self.file, format!("{at}: {finding}"));
                    self.parsed.problems.push(Problem { severity: Severity::Finding, ..problem });
                }
            }
            Value::Null => {}
            _ => self.broken(Problem::file(self.file, format!("{at}: items: must be a list"))),
        }
    }

    /// `place` comes before what is wrong with it if it has no name. `misread` holds up nothing: whoever has no cluster is served what the file says, and told what a cluster would make of it.
    fn object(&mut self, kind: Kind, version: &str, mut fields: Map<String, Value>, misread: Findings, place: &str) {
        let mut findings = Findings::default();
        let metadata = stored_metadata(fields.remove("metadata").unwrap_or_else(|| Value::Object(Map::new())));
        let new_key = new_key(&metadata);
        let Some(name) = name(metadata, &mut findings) else {
            for finding in misread.0.into_iter().chain(findings.0) {
                let finding = Finding::new(format!("{place}{kind}: {}", finding.path), finding.message);
                self.broken(Problem { finding, ..Problem::file(self.file, "") });
            }
            return;
        };
        let allowed = format!("{GROUP}/{VERSION}");
        if version != allowed {
            findings.add("apiVersion", format!("must be {allowed} for an {kind}"));
        }
        let metadata = ObjectMeta {
            name: Some(name.name.clone()),
            namespace: Some(name.namespace.clone()),
            annotations: new_key.clone().map(|value| BTreeMap::from([(NEW_KEY.to_owned(), value)])),
            ..ObjectMeta::default()
        };
        if let Some(spec) = fields.get_mut("spec") {
            *spec = stored(kind, spec.take());
        }
        let partial = mistake(kind, fields.get("spec"), Findings::default());
        let manifest = match kind {
            Kind::McpServer => spec::<McpServerSpec>(&mut fields, &mut findings)
                .map(|spec| Manifest::Server(Box::new(McpServer { metadata, spec, status: None }))),
            Kind::McpClient => spec::<McpClientSpec>(&mut fields, &mut findings)
                .map(|spec| Manifest::Client(Box::new(McpClient { metadata, spec, status: None }))),
        };
        for name in fields.keys().filter(|name| !["apiVersion", "kind", "status"].contains(&name.as_str())) {
            let allowed = ["apiVersion", "kind", "metadata", "spec", "status"];
            findings.add(name.clone(), document::unknown_field(name, allowed.into_iter()));
        }
        if let Some(status) = fields.get("status") {
            findings.0.extend(unknown_in_status(kind, status).0);
        }
        let reading = match manifest.filter(|_| findings.is_empty()) {
            Some(manifest) => Reading::Valid(manifest),
            None => Reading::Mistaken(partial.with(findings.clone()), new_key),
        };
        let id = ObjectId { kind, name };
        let problem = |severity| move |finding| (finding, severity);
        let misread = misread.0.into_iter().map(problem(Severity::Finding));
        let found = misread.chain(findings.0.into_iter().map(problem(Severity::Refused)));
        let problems = found.map(|(finding, severity)| Problem::object(self.file, &id, finding, severity));
        self.parsed.problems.extend(problems);
        self.parsed.objects.push((id, reading));
    }
}

fn unknown_in_status(kind: Kind, status: &Value) -> Findings {
    match kind {
        Kind::McpServer => document::unknown_fields::<McpServerStatus>(status, "status"),
        Kind::McpClient => document::unknown_fields::<McpClientStatus>(status, "status"),
    }
}

/// The value of the one annotation that counts, also if it is no text by mistake.
fn new_key(metadata: &Value) -> Option<String> {
    let value = metadata.get("annotations")?.get(NEW_KEY)?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// A spec as the API server stores it.
fn stored(kind: Kind, spec: Value) -> Value {
    match kind {
        Kind::McpServer => document::stored::<McpServerSpec>(spec),
        Kind::McpClient => document::stored::<McpClientSpec>(spec),
    }
}

/// The same of metadata, in which a null that is the value of a label or annotation is an empty text.
fn stored_metadata(mut metadata: Value) -> Value {
    for field in ["labels", "annotations"] {
        let texts = metadata.get_mut(field).and_then(Value::as_object_mut).into_iter().flatten();
        texts.filter(|(_, value)| value.is_null()).for_each(|(_, value)| *value = "".into());
    }
    if let Some(fields) = metadata.as_object_mut() {
        // What is wrong in it is no error for the API server, which writes it anew.
        fields.remove("managedFields");
    }
    document::stored::<ObjectMeta>(metadata)
}

/// What can be read of an object that has a mistake.
fn mistake(kind: Kind, spec: Option<&Value>, findings: Findings) -> Mistake {
    match kind {
        Kind::McpServer => {
            let partial = PartialServerSpec::read(spec.unwrap_or(&Value::Null));
            Mistake::Server(Box::new(Undecodable { findings, partial }))
        }
        Kind::McpClient => Mistake::Client(Box::new(Undecodable { findings, partial: partial(spec) })),
    }
}

/// What can be read of a client that has a mistake.
fn partial(spec: Option<&Value>) -> PartialClientSpec {
    let mut partial = PartialClientSpec::read(spec.unwrap_or(&Value::Null));
    let credentials = spec.and_then(|spec| spec.get("credentials")).and_then(Value::as_object);
    // A credential under a misspelt name is not one that was removed.
    if credentials.is_some_and(|fields| fields.keys().any(|name| name != "apiKey")) {
        partial.credentials = None;
    }
    partial
}

/// The name and namespace of an object; `None` if they cannot be read. Whatever else is wrong with the metadata is a finding. The rest
/// of it is not used: the UID and the times in a file are those of another cluster.
fn name(metadata: Value, findings: &mut Findings) -> Option<NamespacedName> {
    let (mut name, mut namespace) = (None, Some(DEFAULT_NAMESPACE.to_owned()));
    for (field, read) in [("name", &mut name), ("namespace", &mut namespace)] {
        match metadata.get(field) {
            // As if there were none.
            Some(Value::String(text)) if text.is_empty() && field == "namespace" => {}
            Some(Value::String(text)) => match valid_name(field, text) {
                Ok(()) => *read = Some(text.clone()),
                Err(error) => {
                    findings.add(format!("metadata.{field}"), error.to_string());
                    *read = None;
                }
            },
            // The decoder says what is wrong.
            Some(value) if !value.is_null() => *read = None,
            _ if read.is_none() => findings.add("metadata.name", "is missing; an object needs a name"),
            _ => {}
        }
    }
    match document::decode::<ObjectMeta>(metadata, "metadata") {
        Ok(metadata) => metadata::check(&metadata, findings),
        Err(found) => findings.0.extend(found.0),
    }
    Some(NamespacedName { namespace: namespace?, name: name? })
}

/// The name of a namespace is a DNS label, that of an object a DNS subdomain.
fn valid_name(field: &str, text: &str) -> Result<(), NameError> {
    if field == "namespace" { text.parse::<BackendName>().map(drop) } else { text.parse::<ObjectName>().map(drop) }
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
