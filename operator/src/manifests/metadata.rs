//! What the API server refuses in the metadata of an object (k8s.io/apimachinery `ValidateObjectMeta`), beside its name and namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::Findings;

use crate::qualified::{QUALIFIED, is_qualified, is_word};

/// The most that the annotations of an object may have, in bytes of keys and values.
const MAX_ANNOTATIONS: usize = 256 * 1024;
const LABEL_VALUE: &str = "the value must be empty, or at most 63 of the characters A-Z, a-z, 0-9, '-', '_', '.', with a letter or digit \
                           at both ends";

pub(super) fn check(metadata: &ObjectMeta, findings: &mut Findings) {
    for (key, value) in metadata.labels.iter().flatten() {
        let at = format!("metadata.labels.{key}");
        if !is_qualified(key) {
            findings.add(at.clone(), format!("the key {QUALIFIED}"));
        }
        if !value.is_empty() && !is_word(value) {
            findings.add(at, LABEL_VALUE);
        }
    }
    annotations(metadata, findings);
    let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
    for (n, name) in finalizers.iter().enumerate() {
        if !is_qualified(name) {
            findings.add(format!("metadata.finalizers[{n}]"), QUALIFIED);
        }
    }
    if ["orphan", "foregroundDeletion"].iter().all(|name| finalizers.iter().any(|it| it == name)) {
        findings.add("metadata.finalizers", "must not have both orphan and foregroundDeletion; remove one");
    }
    owners(metadata, findings);
}

fn annotations(metadata: &ObjectMeta, findings: &mut Findings) {
    let mut size = 0;
    for (key, value) in metadata.annotations.iter().flatten() {
        size += key.len() + value.len();
        if !is_qualified(&key.to_lowercase()) {
            findings.add(format!("metadata.annotations.{key}"), format!("the key {QUALIFIED}"));
        }
    }
    if size > MAX_ANNOTATIONS {
        findings.add("metadata.annotations", format!("have {size} bytes; the most is {MAX_ANNOTATIONS}"));
    }
}

fn owners(metadata: &ObjectMeta, findings: &mut Findings) {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    for (n, owner) in owners.iter().enumerate() {
        let fields =
            [("apiVersion", &owner.api_version), ("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)];
        for (field, _) in fields.into_iter().filter(|(_, value)| value.is_empty()) {
            findings.add(format!("metadata.ownerReferences[{n}].{field}"), "must not be empty");
        }
        let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
        if !owner.api_version.is_empty() && (version.is_empty() || version.contains('/')) {
            findings.add(format!("metadata.ownerReferences[{n}].apiVersion"), "must be group/version, or version");
        }
        if (group, version, owner.kind.as_str()) == ("", "v1", "Event") {
            findings.add(format!("metadata.ownerReferences[{n}]"), "must not be an Event");
        }
    }
    if owners.iter().filter(|owner| owner.controller == Some(true)).count() > 1 {
        findings.add("metadata.ownerReferences", "must not have more than one with `controller: true`");
    }
}
