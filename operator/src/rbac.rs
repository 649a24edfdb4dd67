//! The account of `run` and its rights, as `portcullis-operator rbac` prints them.
//!
//! The rights to the objects that are built follow from the table of their kinds. There is no wildcard, and the operator fails
//! without any of the verbs.

use std::fmt::Write as _;

use crate::build::{BuiltKind, KINDS, SECRET};

/// A rule of the ClusterRole, with the reason for it.
struct Rule {
    reason: &'static [&'static str],
    group: &'static str,
    resources: Vec<&'static str>,
    verbs: Vec<&'static str>,
}

/// All manifests, for `kubectl apply`.
pub fn manifests() -> String {
    let mut text = HEADER.to_owned();
    for rule in rules(KINDS) {
        for line in rule.reason {
            writeln!(text, "  # {line}").expect("a string must take text");
        }
        let group = if rule.group.is_empty() { "\"\"" } else { rule.group };
        let (resources, verbs) = (rule.resources.join(", "), rule.verbs.join(", "));
        write!(text, "  - apiGroups: [{group}]\n    resources: [{resources}]\n    verbs: [{verbs}]\n")
            .expect("a string must take text");
    }
    text + BINDING
}

fn rules(kinds: &[BuiltKind]) -> Vec<Rule> {
    let mut rules = vec![
        rule(
            &["The resources that it reads, and their status. Specs belong to their authors: it never writes one."],
            ("portcullis.dev", &["mcpservers", "mcpclients"], &["list", "watch"]),
        ),
        rule(&[], ("portcullis.dev", &["mcpservers/status", "mcpclients/status"], &["patch"])),
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
            None => rules.push(Rule { reason: &[], group, resources: vec![kind.object.plural], verbs }),
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
        verbs,
    });
    rules
}

fn rule(
    reason: &'static [&'static str],
    (group, resources, verbs): (&'static str, &[&'static str], &[&'static str]),
) -> Rule {
    Rule { reason, group, resources: resources.to_vec(), verbs: verbs.to_vec() }
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

const BINDING: &str = "\
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: portcullis-operator
  namespace: portcullis-system
rules:
  # The Lease by which one operator runs at a time. The right to create cannot be limited to a name.
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    verbs: [create]
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    resourceNames: [portcullis-operator]
    verbs: [get, patch]
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
    use super::*;

    #[test]
    fn the_file_is_what_is_printed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/rbac.yaml");
        let file = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(file, manifests(), "run `make generate`: rbac.yaml differs from what is printed");
    }

    #[test]
    fn there_is_no_wildcard_and_secrets_are_not_listed() {
        for rule in rules(KINDS) {
            let all = rule.resources.iter().chain(&rule.verbs).chain([&rule.group]);
            assert!(all.into_iter().all(|word| !word.contains('*')));
            let lists = rule.verbs.contains(&"list") || rule.verbs.contains(&"watch");
            assert!(!(lists && rule.resources.contains(&"secrets")));
        }
    }
}
