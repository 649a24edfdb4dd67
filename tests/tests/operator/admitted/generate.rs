//! Objects with values that nobody means: at each place of an object that has every field, values of all types and of all bounds.

use std::collections::BTreeSet;

use portcullis_crds::manifest;
use serde_json::{Value, json};

/// An object with every field, so that each place of the schema is a place of it.
pub fn complete(kind: &str) -> Value {
    let rate = json!({"requests": 100, "per": "1m"});
    let conditions = json!([
        {"name": "a", "tool": "find", "argument": "/kind", "in": ["a"]}, {"name": "b", "tool": "find", "argument": "/id", "prefix": "x"},
        {"name": "c", "tool": "find", "argument": "/limit", "minimum": 1, "maximum": 2.5},
    ]);
    let spec = match kind {
        "McpServer" => json!({
            "backends": [
                {"name": "crm-api", "critical": true, "http": {"url": "http://crm.example/api", "healthPath": "/healthz"},
                 "headers": [
                     {"name": "X-Version", "value": "2"},
                     {"name": "X-Key", "valueFrom": {"secretKeyRef": {"name": "crm", "key": "key"}}},
                     {"name": "X-Client", "valueFrom": {"identity": "ClientId"}},
                 ],
                 "credentials": {"bearerSecretRef": {"name": "crm", "key": "token"}}},
                {"name": "crm-header", "http": {"url": "http://crm.example"},
                 "credentials": {"headerSecretRef": {"header": "X-Token", "name": "crm", "key": "token"}}},
                {"name": "crm-token", "http": {"url": "http://crm.example"}, "credentials": {"clientCredentials": {
                    "tokenUrl": "https://id.example/token", "clientId": "crm", "clientSecretRef": {"name": "crm", "key": "secret"},
                    "audience": "crm", "scopes": ["read"],
                }}},
                {"name": "fixed", "static": {}},
            ],
            "tools": [
                {
                    "name": "find", "title": "Find", "description": "Finds.", "backend": "crm-api", "effect": "Write",
                    "expensive": true, "timeout": "1m30s", "audit": {"values": ["kind"]},
                    "inputSchema": {"type": "object", "properties": {
                        "kind": {"type": "string", "enum": ["a", "b"]}, "limit": {"type": "integer"}, "id": {"type": "string"},
                    }, "required": ["id"]},
                    "outputSchema": {"type": "object", "properties": {"items": {"type": "array"}}},
                    "annotations": {"destructiveHint": false, "idempotentHint": true, "openWorldHint": false},
                    "icons": [{"src": "https://crm.example/a.png", "mimeType": "image/png", "sizes": ["48x48"], "theme": "Dark"}],
                    "http": {"method": "POST", "path": "/find/{id}", "query": {"limit": "{limit}"}, "body": {"kind": "{kind}"},
                        "encodedSlashes": ["id"]},
                    "records": {"path": "/items", "cursorPath": "/next", "limitArgument": "limit"},
                },
                {"name": "send", "description": "Sends.", "backend": "crm-api", "inputSchema": {"type": "object", "properties": {"tags": {"type": "array"}}},
                 "http": {"method": "POST", "path": "/send", "form": {"tags": "{tags}"}, "styles": {"tags": "Comma"}}},
                {"name": "upload", "description": "Uploads.", "backend": "crm-api", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
                 "http": {"method": "POST", "path": "/upload", "multipart": [
                     {"name": "file", "value": "{text}", "encoding": "Base64", "filename": "a.txt", "contentType": "text/plain"},
                 ]}},
                {"name": "ping", "description": "Answers.", "backend": "fixed",
                 "static": {"text": "pong", "structuredContent": {"answer": null}}},
            ],
            "urls": ["https://crm.example.com"],
            "authentication": {"apiKey": {"mode": "Optional", "header": "Bearer"}},
            "clients": [{
                "namespaces": {"from": "Same"}, "maxClients": 900,
                "allow": {"tools": ["*"], "effects": ["Read", "Write"], "maxRecordsPerQuery": 50, "limits": rate, "where": conditions},
            }],
            "limits": {"perClient": rate, "expensiveTools": rate, "global": {"requests": 500, "per": "1m", "maxShare": 50}},
            "audit": {"arguments": "Shape", "onOverflow": "Refuse"},
            "logLevel": "info", "replicas": 2,
            "pod": {"resources": {
                "claims": [], "limits": {"memory": "64Mi"}, "requests": {"cpu": "100m"},
            }},
        }),
        _ => json!({
            "access": [{
                "serverRef": {"name": "crm", "namespace": "default"}, "tools": ["ping", "find"], "maxRecordsPerQuery": 1,
                "allowWrite": false, "limits": rate, "where": conditions,
            }],
            "credentials": {"apiKey": {"secretName": "key", "revokeBefore": "2026-01-01T00:00:00Z"}},
            "expiresAt": "2030-01-01T00:00:00Z", "suspended": false,
        }),
    };
    let metadata = json!({
        "name": "crm", "namespace": "default", "labels": {"a": "b"}, "annotations": {"a": "b"}, "finalizers": ["a.example/b"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b", "controller": true, "blockOwnerDeletion": false}],
    });
    json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// The values that are tried at a place with this schema; `None` is that the field is absent. There is no 1.0: kubectl sends 1.
fn values(schema: &Value) -> Vec<Option<Value>> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1),
        json!(1.5),
        json!(1e300),
        json!(4_294_967_296_u64),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!("1"),
        json!("true"),
        json!("null"),
        json!([]),
        json!([null]),
        json!(["x"]),
        json!(["x", "x"]),
        json!({}),
        json!({"x": null}),
        json!({"x": 1}),
    ];
    let number = |name: &str| schema.get(name).and_then(Value::as_f64);
    for bound in ["minimum", "maximum"].into_iter().filter_map(number) {
        values.extend(
            [bound - 1.0, bound, bound + 1.0, bound + 0.5]
                .map(|it| if it.fract() == 0.0 { json!(it as i64) } else { json!(it) }),
        );
    }
    for bound in ["minLength", "maxLength"].into_iter().filter_map(number) {
        let long = |length: f64, of: &str| json!(of.repeat(length.max(0.0) as usize));
        values.extend([
            long(bound, "a"),
            long(bound + 1.0, "a"),
            long(bound - 1.0, "a"),
            long(bound, "ü"),
            long(bound / 2.0, "😀"),
        ]);
    }
    for bound in ["minItems", "maxItems"].into_iter().filter_map(number) {
        let items = |count: f64| (0..count as usize).map(|n| json!(format!("t{n}"))).collect::<Value>();
        values.extend([items(bound), items(bound + 1.0)]);
    }
    if schema["pattern"].is_string() {
        values.extend(TEXTS.map(Value::from));
    }
    if schema["format"] == "date-time" {
        values.extend(TIMES.map(Value::from));
    }
    if schema["x-kubernetes-int-or-string"] == true {
        values.extend(QUANTITIES.map(Value::from));
    }
    for word in schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        values.extend([json!(word), json!(word.to_uppercase()), json!(format!("{word} "))]);
    }
    values.extend(schema.get("default").cloned());
    [None].into_iter().chain(values.into_iter().map(Some)).collect()
}

const TEXTS: [&str; 41] = [
    "a",
    "A",
    "a.b",
    "a..b",
    "-a",
    "a-",
    "a_b",
    "a b",
    " a",
    "a\n",
    "\na",
    "ä",
    "a\u{0}",
    "*",
    "/",
    "//",
    "/a",
    "/a b",
    "/a?b=c",
    "/a#b",
    "/{x",
    "/{x}",
    "/{kind}",
    "http://",
    "http://a",
    "HTTP://a.example",
    "http://a b",
    "http://[::1]:80",
    "http://a:99999",
    "https://ü.example/",
    "http://user@a",
    "ftp://a.example",
    "1s",
    "1s\n",
    "1",
    "1h1h",
    "1m1h",
    "٣s",
    "9999999999h",
    "0s",
    "100000h",
];
const TIMES: [&str; 24] = [
    "2030-01-01T00:00:00Z",
    "2030-01-01t00:00:00z",
    "2030-01-01 00:00:00Z",
    "2030-01-01",
    "2030-01-01T00:00:00",
    "2030-01-01T24:00:00Z",
    "2030-01-01T23:59:60Z",
    "2030-02-29T00:00:00Z",
    "2028-02-29T00:00:00Z",
    "2030-13-01T00:00:00Z",
    "2030-00-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "10000-01-01T00:00:00Z",
    "2030-01-01T00:00:00.5Z",
    "2030-01-01T00:00:00.1234567891Z",
    "2030-01-01T00:00:00,5Z",
    "2030-01-01T00:00:00+23:59",
    "2030-01-01T00:00:00-00:00",
    "2030-01-01T00:00:00+24:00",
    "2030-01-01T00:00:00+99:00",
    "0000-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
];
const QUANTITIES: [&str; 16] = [
    "1",
    "1.5",
    "1Ki",
    "1k",
    "1K",
    "1e3",
    "1E",
    "1e",
    ".5",
    "5.",
    "-1",
    "+1",
    "1 Mi",
    "1mi",
    "99999999999999999999999",
    "0x10",
];

/// A place in the schema that is also a place of the complete object.
struct Place {
    pointer: String,
    schema: Value,
}

/// The places below a value, and the fields of the schema that the value does not have.
fn places(
    schema: &Value,
    value: &Value,
    pointer: &str,
    found: &mut Vec<Place>,
    named: &mut BTreeSet<String>,
    at: &str,
) {
    found.push(Place { pointer: pointer.to_owned(), schema: schema.clone() });
    named.insert(at.to_owned());
    let additional = schema.get("additionalProperties");
    for (name, value) in value.as_object().into_iter().flatten() {
        let of_name = schema["properties"].get(name);
        if let Some(below) = of_name.or(additional).filter(|below| below.is_object()) {
            let at = format!("{at}/{}", if of_name.is_some() { name } else { "*" });
            places(below, value, &format!("{pointer}/{name}"), found, named, &at);
        }
    }
    if let Some(items) = schema.get("items") {
        for (n, item) in value.as_array().into_iter().flatten().enumerate() {
            places(items, item, &format!("{pointer}/{n}"), found, named, &format!("{at}/[]"));
        }
    }
}

/// All places of a schema, by their names.
fn all_of(schema: &Value, at: &str, all: &mut BTreeSet<String>) {
    all.insert(at.to_owned());
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        all_of(below, &format!("{at}/{name}"), all);
    }
    for (name, below) in [("*", "additionalProperties"), ("[]", "items")] {
        if let Some(below) = schema.get(below).filter(|below| below.is_object()) {
            all_of(below, &format!("{at}/{name}"), all);
        }
    }
}

/// The object with another value at a place, or without it.
fn changed(object: &Value, pointer: &str, value: Option<&Value>) -> Value {
    let mut object = object.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match (object.pointer_mut(parent).unwrap(), value) {
        (Value::Object(fields), None) => drop(fields.remove(name)),
        (Value::Array(items), None) => drop(items.remove(name.parse().unwrap())),
        (parent, Some(value)) => match parent {
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value.clone(),
            parent => parent[name] = value.clone(),
        },
        _ => {}
    }
    object
}

/// The schema of an object's metadata, as far as a manifest sets it.
fn metadata() -> Value {
    let (text, texts) =
        (json!({"type": "string"}), json!({"type": "object", "additionalProperties": {"type": "string"}}));
    let owner = json!({"apiVersion": text, "kind": text, "name": text, "uid": text, "controller": {}, "blockOwnerDeletion": {}});
    json!({"type": "object", "properties": {
        "labels": texts, "annotations": texts, "finalizers": {"items": text},
        "ownerReferences": {"items": {"type": "object", "properties": owner}},
    }})
}

pub fn generated() -> Vec<Value> {
    let mut objects = Vec::new();
    for (_, definition) in manifest::all() {
        let definition = serde_json::to_value(definition).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let object = complete(definition["spec"]["names"]["kind"].as_str().unwrap());
        let (mut found, mut named, mut all) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        all_of(schema, "", &mut all);
        places(schema, &object["spec"], "/spec", &mut found, &mut named, "");
        // The API server knows them; the operator supports none.
        let missing = all.difference(&named).filter(|place| !place.starts_with("/pod/resources/claims/"));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&String>::new(), "the complete object lacks fields");
        places(&metadata(), &object["metadata"], "/metadata", &mut found, &mut named, "");
        objects.push(object.clone());
        for Place { pointer, schema } in found {
            objects.extend(values(&schema).iter().map(|value| changed(&object, &pointer, value.as_ref())));
            if object.pointer(&pointer).is_some_and(Value::is_object) {
                objects.push(changed(&object, &format!("{pointer}/colour"), Some(&json!(null))));
            }
        }
    }
    let mut seen = BTreeSet::new();
    objects.retain(|object: &Value| seen.insert(object.to_string()));
    // Each has a name of its own, so that a folder can have them all.
    for (n, object) in objects.iter_mut().enumerate() {
        if object["metadata"].is_object() {
            object["metadata"]["name"] = format!("o{n}").into();
        }
        if let Some(secret) = object.pointer_mut("/spec/credentials/apiKey/secretName").filter(|it| *it == "key") {
            *secret = format!("key-{n}").into();
        }
    }
    objects
}
