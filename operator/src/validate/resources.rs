//! CPU and memory of the pods: what the API server would refuse in the Deployment is a finding about the McpServer instead.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity as Text};
use portcullis_crds::{Findings, quantity::Quantity};

const PATH: &str = "spec.pod.resources";

pub(super) fn check(resources: &ResourceRequirements, findings: &mut Findings) {
    if resources.claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        findings.add(format!("{PATH}.claims"), "is not supported; remove it");
    }
    let requests = amounts(resources.requests.as_ref(), "requests", findings);
    let limits = amounts(resources.limits.as_ref(), "limits", findings);
    for (name, request) in &requests {
        if limits.get(name).is_some_and(|limit| request > limit) {
            findings.add(format!("{PATH}.requests.{name}"), format!("is more than {PATH}.limits.{name}"));
        }
    }
}

fn amounts<'a>(
    texts: Option<&'a BTreeMap<String, Text>>,
    kind: &str,
    findings: &mut Findings,
) -> BTreeMap<&'a str, Quantity> {
    let mut amounts = BTreeMap::new();
    for (name, Text(text)) in texts.into_iter().flatten() {
        let at = format!("{PATH}.{kind}.{name}");
        match text.parse::<Quantity>() {
            Ok(amount) if amount.is_negative() => findings.add(at, "must not be negative"),
            Ok(amount) => {
                amounts.insert(name.as_str(), amount);
            }
            Err(error) => findings.add(at, error.to_string()),
        }
    }
    amounts
}
