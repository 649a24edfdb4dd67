//! The account of `run` and its rights, as `portcullis-operator rbac` prints them, and the rules that the Helm chart grants.
//!
//! The rights to the objects that are built follow from the table of their kinds. There is no wildcard, and the operator fails
//! without any of the verbs.

use std::{fmt::Write as _, fs, path::PathBuf};

use portcullis_crds::manifest;

use crate::{
    build::{BuiltKind, KINDS, SECRET},
    cluster::access::Right,
    lease,
};

#[derive(clap::Args)]
pub struct Options {
    /// Write only the rules, as the Helm chart reads them, into this file instead of printing the manifests
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// A rule of a role, with the reason for it.
struct Rule {
    reason: &'static [&'static str],
    group: &'static str,
    resources: Vec<&'static str>,
    /// The objects to which it is limited, by name. Empty for all.
    names: Vec<String>,
    verbs: Vec<&'static str>,
}

/// The manifests, if no file is requested.
///
/// # Errors
/// Returns an error if the file cannot be written.
pub fn rbac(options: Options) -> Result<String, String> {
    let Some(path) = options.rules else { return Ok(manifests()) };
    fs::write(&path, chart_rules()).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::new())
}

/// All manifests, for `kubectl apply`.
fn manifests() -> String {
    [HEADER, &print(&rules(KINDS)), LEASE_ROLE, &print(&lease_rules()), BINDINGS].concat()
}

/// The rules of each role of the Helm chart.
fn chart_rules() -> String {
    let roles = [
        ("The ClusterRole of the operator.", "cluster", rules(KINDS)),
        ("The Role of the operator in its own namespace.", "namespace", lease_rules()),
        (
            "The ClusterRole of `crds apply`, which the chart runs before an installation or an upgrade.",
            "crds",
            crds_rules(),
        ),
    ];
    let mut text = "# Printed by `portcullis-operator rbac --rules`; edit operator/src/rbac.rs instead.\n".to_owned();
    for (purpose, key, rules) in roles {
        write!(text, "# {purpose}\n{key}:\n{}", print(&rules)).expect("a string must take text");
    }
    text
}

fn print(rules: &[Rule]) -> String {
    let mut text = String::new();
    for Rule { reason, group, resources, names, verbs } in rules {
        for line in *reason {
            writeln!(text, "  # {line}").expect("a string must take text");
        }
        let group = if group.is_empty() { "\"\"" } else { group };
        write!(text, "  - apiGroups: [{group}]\n    resources: [{}]\n", resources.join(", "))
            .expect("a string must take text");
        if !names.is_empty() {
            writeln!(text, "    resourceNames: [{}]", names.join(", ")).expect("a string must take text");
        }
        writeln!(text, "    verbs: [{}]", verbs.join(", ")).expect("a string must take text");
    }
    text
}

fn lease_rules() -> Vec<Rule> {
    let leases = ("coordination.k8s.io", &["leases"][..]);
    vec![
        rule(
            &["The Lease by which one operator runs at a time. The right to create cannot be limited to a name."],
            (leases.0, leases.1, &["create"]),
        ),
        Rule { names: vec![lease::NAME.to_owned()], ..rule(&[], (leases.0, leases.1, &["get", "patch"])) },
    ]
}

fn crds_rules() -> Vec<Rule> {
    let definitions = ("apiextensions.k8s.io", &["customresourcedefinitions"][..]);
    let names = manifest::all().into_iter().filter_map(|(_, definition)| definition.metadata.name).collect();
    vec![
        rule(
            &["The two CustomResourceDefinitions. The right to create cannot be limited to a name."],
            (definitions.0, definitions.1, &["create"]),
        ),
        Rule { names, ..rule(&[], (definitions.0, definitions.1, &["get", "update"])) },
    ]
}

/// Each right of `run`, whose Lease is in this namespace.
pub fn rights(lease_namespace: &str) -> Vec<Right> {
    let of_cluster = rules(KINDS).into_iter().map(|rule| (rule, None));
    let of_namespace = lease_rules().into_iter().map(|rule| (rule, Some(lease_namespace)));
    of_cluster.chain(of_namespace).flat_map(|(rule, namespace)| rule.rights(namespace)).collect()
}

impl Rule {
    /// One for each resource, verb and name.
    fn rights(self, namespace: Option<&str>) -> Vec<Right> {
        let Self { reason: _, group, resources, names, verbs } = self;
        let names = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
        let mut rights = Vec::new();
        for resource in resources {
            let (resource, subresource) = match resource.split_once('/') {
                Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
                None => (resource, None),
            };
            for (verb, name) in verbs.iter().flat_map(|verb| names.iter().map(move |name| (verb, name))) {
                rights.push(Right {
                    verb: (*verb).to_owned(),
                    group: group.to_owned(),
                    resource: resource.to_owned(),
                    subresource: subresource.clone(),
                    name: name.clone(),
                    namespace: namespace.map(str::to_owned),
                });
            }
        }
        rights
    }
}

fn rules(kinds: &[BuiltKind]) -> Vec<Rule> {
    let mut rules = vec![
        rule(
            &["The resources that it reads, and their status. Specs belong to their authors: it never writes one."],
            ("portcullis.dev", &["mcpservers", "mcpclients"], &["list", "watch"]),
        ),
        rule(&[], ("portcullis.dev", &["mcpservers/status", "mcpclients/status"], &["patch"])),
        Rule {
            names: manifest::all().into_iter().filter_map(|(_, definition)| definition.metadata.name).collect(),
            ..rule(
                &["Their definitions: an operator says if they are missing, or older than it is."],
                ("apiextensions.k8s.io", &["customresourcedefinitions"], &["get"]),
            )
        },
    ];
    rules.extend(built(kinds));
    rules.extend([
        rule(
            &["The pods that it queries and annotates, so that kubelet refreshes their files."],
            ("", &["pods"], &["list", "watch", "patch"]),
        ),
        rule(
            &["The ReplicaSets that those pods name: a pod counts only if it was created by the server's Deployment."],
            ("apps", &["replicasets"], &["get"]),
        ),
        rule(&["What it reports to `kubectl describe`."], ("events.k8s.io", &["events"], &["create"])),
    ]);
    rules
}

/// One rule for all kinds of a group with the same verbs; Secrets have one of their own.
fn built(kinds: &[BuiltKind]) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let (secrets, others): (Vec<&BuiltKind>, Vec<&BuiltKind>) =
        kinds.iter().partition(|kind| kind.object.plural == SECRET.object.plural);
    for kind in others {
        let (group, verbs) = (kind.object.group, kind.verbs());
        match rules.iter_mut().find(|rule| rule.group == group && rule.verbs == verbs) {
            Some(rule) => rule.resources.push(kind.object.plural),
            None => {
                let resources = vec![kind.object.plural];
                rules.push(Rule { reason: &[], group, resources, names: Vec::new(), verbs });
            }
        }
    }
    if let Some(first) = rules.first_mut() {
        first.reason = &["What it builds. It is garbage collected with its owner."];
    }
    let verbs = secrets.first().map(|kind| kind.verbs()).unwrap_or_default();
    let verbs = verbs.into_iter().filter(|verb| *verb != "delete").chain(["delete"]).collect();
    rules.push(Rule {
        reason: &[
            "Keys and their digests. Secrets are neither listed nor watched, because users have others. One is deleted when an",
            "McpClient names another one for its key.",
        ],
        group: "",
        resources: vec![SECRET.object.plural],
        names: Vec::new(),
        verbs,
    });
    rules
}

fn rule(
    reason: &'static [&'static str],
    (group, resources, verbs): (&'static str, &[&'static str], &[&'static str]),
) -> Rule {
    Rule { reason, group, resources: resources.to_vec(), names: Vec::new(), verbs: verbs.to_vec() }
}

const HEADER: &str = "\
# The rights of the operator. It needs each of these verbs, and no other.
# Printed by `portcullis-operator rbac`; apply it with: portcullis-operator rbac | kubectl apply --server-side -f -
apiVersion: v1
kind: Namespace
metadata:
  name: portcullis-system
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: portcullis-operator
  namespace: portcullis-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: portcullis-operator
rules:
";

const LEASE_ROLE: &str = "\
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: portcullis-operator
  namespace: portcullis-system
rules:
";

const BINDINGS: &str = "\
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: portcullis-operator
  namespace: portcullis-system
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: portcullis-operator
subjects:
  - kind: ServiceAccount
    name: portcullis-operator
    namespace: portcullis-system
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: portcullis-operator
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: portcullis-operator
subjects:
  - kind: ServiceAccount
    name: portcullis-operator
    namespace: portcullis-system
";

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn the_files_are_what_is_printed() {
        for (name, printed) in [("rbac.yaml", manifests()), ("../charts/portcullis/files/rules.yaml", chart_rules())] {
            let file = std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default();
            assert_eq!(file, printed, "run `make generate`: {name} differs from what is printed");
        }
    }

    /// The right to read a definition, for example, is one for each name.
    #[test]
    fn the_rights_that_are_checked_are_those_that_are_printed() {
        let mut printed = Vec::new();
        for document in serde_yaml::Deserializer::from_str(&manifests()) {
            let role = serde_json::Value::deserialize(document).unwrap();
            let words = |value: &serde_json::Value| -> Vec<String> {
                value.as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
            };
            let namespace = role["metadata"]["namespace"].as_str();
            for rule in role["rules"].as_array().into_iter().flatten() {
                let names = match words(&rule["resourceNames"]) {
                    names if names.is_empty() => vec![String::new()],
                    names => names.into_iter().map(|name| format!(" {name}")).collect(),
                };
                for resource in words(&rule["resources"]) {
                    for verb in words(&rule["verbs"]) {
                        let right = |name| format!("{verb} {resource}{name}");
                        let namespace = namespace.map(|namespace| format!(" in {namespace}")).unwrap_or_default();
                        printed.extend(names.iter().map(|name| right(name) + &namespace));
                    }
                }
            }
        }
        let checked: Vec<String> = rights(lease::NAMESPACE).iter().map(ToString::to_string).collect();
        assert_eq!(checked, printed);
        assert!(checked.contains(&"create secrets".to_owned()));
    }

    #[test]
    fn there_is_no_wildcard_and_secrets_are_not_listed() {
        for rule in rules(KINDS).into_iter().chain(lease_rules()).chain(crds_rules()) {
            let all = rule.resources.iter().chain(&rule.verbs).chain([&rule.group]);
            assert!(all.into_iter().all(|word| !word.contains('*')));
            let lists = rule.verbs.contains(&"list") || rule.verbs.contains(&"watch");
            assert!(!(lists && rule.resources.contains(&"secrets")));
        }
    }
}
