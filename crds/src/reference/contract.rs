//! The page of the documents of the contract, for people who write them by hand.

use schemars::JsonSchema;

use super::fields::{Field, fields, row};
use crate::{
    contract::{CredentialClient, PolicyClient, ServerIdentity, ServerKeys, ServerSpec, Version},
    document::structural_schema,
};

const INTRODUCTION: &str = "
A server reads two documents from its folder, `policy.yaml` and `credentials.yaml`. The operator writes them, and they can be
written by hand. This page is printed from the types by `make generate`; [the architecture](architecture.md#the-policy-contract)
explains why the contract is as it is.

* **Both documents are needed.** A client has access if the policy grants it and the credentials contain its key, with the same
  `id` and the same `uid` in both. Removal from either document denies it.
* **The revision** identifies a document: it is the SHA-256 of its content, as JSON without white space and with sorted keys. Leave
  `revision` out of a document that is written by hand; the server computes it. If it is present and wrong, the document is
  refused.
* **The version** is the value of `contract`. A server reads one version, and refuses documents of any other. Within a version,
  fields are only added, each with a default that means what its absence meant before, and no default changes.
* **What cannot be read grants nothing, and takes nothing else with it.** A restriction that cannot be read must not be ignored, so a
  field that is unknown, has a wrong type or appears twice refuses the smallest part that contains it: a tool, a backend with its
  tools, the entry of a client, or an item of its `tools` or `apiKeys`. Anywhere else in `server` or `spec` it refuses both, and
  in the rest of the credentials `keys`. A running server keeps the last valid form of a part that is refused, for the clients that
  had it and still have it; a server that starts serves without it. `spec.clients` and `spec.logLevel` are ignored if they cannot be
  read, and an `audit` that cannot be read is `{arguments: None}`.
* **Bounds are for people.** What the operator and `validate` refuse because it is too long, too large or of no use is served if it
  can be served as it is meant, because another release may have published it. A `timeout` beyond its bounds is the nearest one within
  them, an argument that could contain free text is not recorded, and an icon that clients must not load is not shown.
* A field that has its default can be left out, and the operator never prints it.
* Durations are written as `250ms`, `30s`, `1m30s` or `24h`.
";

/// A policy that uses only required fields, and its credentials.
const EXAMPLE_POLICY: &str = "\
contract: 1
server: {namespace: sales, name: crm}
spec:
  backends:
    - {name: crm-api, http: {url: 'http://127.0.0.1:8080'}}
  tools:
    - name: get_contact
      description: Read a contact.
      backend: crm-api
      inputSchema: {type: object, required: [id], properties: {id: {type: string}}}
      http: {method: GET, path: '/contacts/{id}'}
clients:
  - id: bot
    uid: '1'
    tools: [get_contact]
    maxRecordsPerQuery: 10
    limits: [{requests: 60, per: 1m}]
";
const EXAMPLE_CREDENTIALS: &str = "\
contract: 1
clients:
  - id: bot
    uid: '1'
    apiKeys:
      # printf %s \"$KEY\" | sha256sum
      - {id: first, sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b}
";

/// The default of each field that has one, as JSON.
const DEFAULTS: &[(&str, &str)] = &[
    ("server.hosts", "[]"),
    ("server.replicas", "1"),
    ("spec.audit.arguments", r#""Shape""#),
    ("spec.audit.onOverflow", r#""Refuse""#),
    ("spec.authentication.apiKey.mode", r#""Optional""#),
    ("spec.backends[].critical", "false"),
    ("spec.clients", "[{}]"),
    ("spec.clients[].allow.effects", r#"["Read", "Write"]"#),
    ("spec.clients[].allow.tools", r#"["*"]"#),
    ("spec.clients[].maxClients", "1000"),
    ("spec.clients[].namespaces.from", r#""Same""#),
    ("spec.limits.expensiveTools", r#"{"requests": 10, "per": "1m"}"#),
    ("spec.limits.global", r#"{"requests": 500, "per": "1m"}"#),
    ("spec.limits.global.maxShare", "50"),
    ("spec.limits.perClient", r#"{"requests": 60, "per": "1m"}"#),
    ("spec.logLevel", r#""info""#),
    ("spec.tools[].audit.values", "[]"),
    ("spec.tools[].expensive", "false"),
    ("spec.tools[].http.multipart[].encoding", r#""Text""#),
    ("spec.tools[].http.query", "{}"),
    ("spec.tools[].inputSchema", r#"{"type": "object"}"#),
    ("spec.tools[].timeout", r#""30s""#),
    ("clients[].allowWrite", "false"),
    ("clients[].suspended", "false"),
];

/// The page, as Markdown.
pub fn contract() -> String {
    let version = Version::CURRENT;
    let mut page = format!("# The documents of the contract, version {}\n{INTRODUCTION}", version.number());
    page.push_str(&format!("\n## An example\n\n`policy.yaml`:\n\n```yaml\n{EXAMPLE_POLICY}```\n"));
    page.push_str(&format!("\n`credentials.yaml`:\n\n```yaml\n{EXAMPLE_CREDENTIALS}```\n"));
    page.push_str("\n## `policy.yaml`\n\nIt contains no secret. The order of entries has no meaning, except in `spec.clients`.\n\n");
    table(&mut page, &policy_fields());
    page.push_str("\n## `credentials.yaml`\n\nIt contains the digests of API keys, not the keys themselves. A key must consist of at least 256 random bits, because the digest of \
         a shorter one can be guessed.\n\n");
    table(&mut page, &credentials_fields());
    page
}

fn policy_fields() -> Vec<Field> {
    let mut all = envelope();
    all.extend(part::<ServerIdentity>("server", "object", true, "The server that the policy is for."));
    all.extend(part::<ServerSpec>("spec", "object", true, "What the server offers."));
    all.extend(part::<PolicyClient>("clients[]", "list of object", false, "What each client is granted."));
    all
}

fn credentials_fields() -> Vec<Field> {
    let mut all = envelope();
    all.extend(part::<CredentialClient>("clients[]", "list of object", false, "The credentials of each client."));
    let keys = "The server's own keys. If they are absent, the server generates keys when it starts.";
    all.extend(part::<ServerKeys>("keys", "object", false, keys));
    all
}

fn envelope() -> Vec<Field> {
    let field = |path: &str, kind: &str, is_required, description: &str| Field {
        path: path.to_owned(),
        kind: kind.to_owned(),
        is_required,
        default: None,
        description: description.to_owned(),
    };
    vec![
        field("contract", "integer", true, "The version of the contract."),
        field(
            "revision",
            "string",
            false,
            "The revision of the document. Leave it out of a document that is written by hand.",
        ),
    ]
}

/// A field of a document, and those below it.
fn part<T: JsonSchema>(path: &str, kind: &str, is_required: bool, description: &str) -> Vec<Field> {
    let field = Field {
        path: path.trim_end_matches("[]").to_owned(),
        kind: kind.to_owned(),
        is_required,
        default: None,
        description: description.to_owned(),
    };
    let below = fields(path, &structural_schema::<T>(), &|_| false).into_iter().map(|field| Field {
        default: DEFAULTS.iter().find(|(path, _)| *path == field.path).map(|(_, default)| (*default).to_owned()),
        ..field
    });
    std::iter::once(field).chain(below).collect()
}

fn table(page: &mut String, fields: &[Field]) {
    page.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
    for field in fields {
        let default = match &field.default {
            Some(default) => format!("`{default}`"),
            None if field.is_required => "required".to_owned(),
            None => String::new(),
        };
        row(page, &[&format!("`{}`", field.path), &field.kind, &default, &field.description]);
    }
}

#[cfg(test)]
mod tests;
