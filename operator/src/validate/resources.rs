//! CPU, memory and other resources of the pods: what the API server would refuse in the Deployment (k8s.io/kubernetes
//! `ValidateContainerResourceRequirements`) is a finding about the McpServer instead.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity as Text};
use portcullis_crds::{Findings, quantity::Quantity};

use crate::qualified::{QUALIFIED, is_qualified};

const PATH: &str = "spec.pod.resources";

pub(super) fn check(resources: &ResourceRequirements, findings: &mut Findings) {
    if resources.claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        findings.add(format!("{PATH}.claims"), "is not supported; remove it");
    }
    let requests = amounts(resources.requests.as_ref(), "requests", findings);
    let limits = amounts(resources.limits.as_ref(), "limits", findings);
    for (name, request) in &requests {
        let limit = limits.get(name);
        let at = format!("{PATH}.requests.{name}");
        if is_reserved(name) && limit != Some(request) {
            findings.add(at, format!("must be the same as {PATH}.limits.{name}: {name} cannot be shared"));
        } else if limit.is_some_and(|limit| request > limit) {
            findings.add(at, format!("is more than {PATH}.limits.{name}"));
        }
    }
    let has = |wanted: fn(&str) -> bool| requests.keys().chain(limits.keys()).any(|name| wanted(name));
    if has(|name| name.starts_with(HUGE_PAGES)) && !has(|name| matches!(name, "cpu" | "memory")) {
        findings.add(PATH, "must have cpu or memory beside huge pages");
    }
}

const HUGE_PAGES: &str = "hugepages-";

/// Whether a container gets an amount for itself alone, so that its request is its limit.
fn is_reserved(name: &str) -> bool {
    name.starts_with(HUGE_PAGES) || is_extended(name)
}

/// Whether it is a resource of a device plugin or of an administrator, such as `nvidia.com/gpu`.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

/// What is wrong with the name of a resource.
fn check_name(name: &str) -> Result<(), String> {
    if !name.contains('/') {
        let is_standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with(HUGE_PAGES);
        let message = "is not a resource of containers, which are cpu, memory, ephemeral-storage, hugepages-SIZE such as \
                       hugepages-2Mi, and those with a domain, such as nvidia.com/gpu";
        return if is_standard && is_qualified(name) { Ok(()) } else { Err(message.to_owned()) };
    }
    let is_of_a_quota = is_extended(name) && name.starts_with("requests.");
    // A quota has it with this prefix.
    let is_too_long = is_extended(name) && !is_qualified(&format!("requests.{name}"));
    if is_of_a_quota || is_too_long || !is_qualified(name) {
        Err(format!("{QUALIFIED}, and not `requests.`"))
    } else {
        Ok(())
    }
}

/// What is wrong with an amount of a resource.
fn check_amount(name: &str, amount: &Quantity) -> Result<(), String> {
    if amount.is_negative() {
        return Err("must not be negative".to_owned());
    }
    if let Some(size) = name.strip_prefix(HUGE_PAGES) {
        let page =
            size.parse::<Quantity>().ok().filter(|page| !page.is_negative() && !page.is_zero() && page.is_whole());
        let Some(page) = page else {
            return Err("must have the size of a page after `hugepages-`, such as hugepages-2Mi".to_owned());
        };
        return if amount.is_multiple_of(&page) { Ok(()) } else { Err(format!("must be a multiple of {size}")) };
    }
    if is_extended(name) && !amount.in_thousandths().is_whole() {
        return Err("must be a whole number".to_owned());
    }
    Ok(())
}

fn amounts<'a>(
    texts: Option<&'a BTreeMap<String, Text>>,
    kind: &str,
    findings: &mut Findings,
) -> BTreeMap<&'a str, Quantity> {
    let mut amounts = BTreeMap::new();
    for (name, Text(text)) in texts.into_iter().flatten() {
        let at = format!("{PATH}.{kind}.{name}");
        let amount = check_name(name).and_then(|()| text.parse::<Quantity>().map_err(|error| error.to_string()));
        match amount.and_then(|amount| check_amount(name, &amount).map(|()| amount)) {
            Ok(amount) => {
                amounts.insert(name.as_str(), amount);
            }
            Err(message) => findings.add(at, message),
        }
    }
    amounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_refuses_in_a_container_is_a_finding() {
        for (requests, limits, paths) in [
            (vec![("cpu", "1"), ("memory", "1Gi"), ("ephemeral-storage", "1Gi")], vec![], vec![]),
            (vec![("nvidia.com/gpu", "1")], vec![("nvidia.com/gpu", "1000m")], vec![]),
            (vec![], vec![("nvidia.com/gpu", "2"), ("example.kubernetes.io/x", "1500m")], vec![]),
            (vec![("nvidia.com/gpu", "1")], vec![], vec!["requests.nvidia.com/gpu"]),
            (vec![("nvidia.com/gpu", "1")], vec![("nvidia.com/gpu", "2")], vec!["requests.nvidia.com/gpu"]),
            (vec![], vec![("nvidia.com/gpu", "0.5")], vec!["limits.nvidia.com/gpu"]),
            (vec![], vec![("foo", "1"), ("pods", "1"), ("", "1")], vec!["limits.", "limits.foo", "limits.pods"]),
            (
                vec![],
                vec![("a b/c", "1"), ("requests.x.io/c", "1"), ("x.io/", "1"), ("a.io/b/c", "1")],
                vec!["limits.a b/c", "limits.a.io/b/c", "limits.requests.x.io/c", "limits.x.io/"],
            ),
            (vec![], vec![("cpu", "1"), ("hugepages-2Mi", "4Mi")], vec![]),
            (vec![], vec![("hugepages-2Mi", "4Mi")], vec![""]),
            (vec![("cpu", "1"), ("hugepages-2Mi", "4Mi")], vec![], vec!["requests.hugepages-2Mi"]),
            (
                vec![("cpu", "1")],
                vec![("hugepages-2Mi", "3Mi"), ("hugepages-x", "1")],
                vec!["limits.hugepages-2Mi", "limits.hugepages-x"],
            ),
            (vec![("cpu", "2")], vec![("cpu", "1500m"), ("memory", "-1")], vec!["limits.memory", "requests.cpu"]),
        ] {
            let amounts = |amounts: Vec<(&str, &str)>| {
                let amounts = amounts.into_iter().map(|(name, amount)| (name.to_owned(), Text(amount.to_owned())));
                Some(amounts.collect::<BTreeMap<_, _>>())
            };
            let resources =
                ResourceRequirements { requests: amounts(requests), limits: amounts(limits), ..Default::default() };
            let mut findings = Findings::default();
            check(&resources, &mut findings);
            let found = findings.0.iter().map(|it| it.path[PATH.len()..].trim_start_matches('.').to_owned());
            assert_eq!(found.collect::<Vec<_>>(), paths, "{findings}");
        }
    }
}
