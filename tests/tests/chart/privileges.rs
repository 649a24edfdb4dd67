//! No object of the chart is a secret, grants a wildcard or gives a pod a privilege.

use serde_json::{Value, json};

use crate::helm::{files_of_values, name, objects, rendered_text};

#[test]
fn no_rendered_object_has_a_secret_a_wildcard_or_a_privilege() {
    for file in files_of_values() {
        let objects = objects(&rendered_text(&file));
        assert!(objects.iter().any(|object| object["kind"] == "Deployment"), "{file}");
        let found: Vec<String> = objects.iter().flat_map(findings).collect();
        assert_eq!(found, [] as [&str; 0], "{file}");
    }
}

#[test]
fn what_the_scan_looks_for_is_found() {
    let file = files_of_values().into_iter().find(|file| file.ends_with("/everything-values.yaml")).unwrap();
    let objects = objects(&rendered_text(&file));
    // The object, what is set in it, and what is found then.
    let pod = "/spec/template/spec";
    let container = "/spec/template/spec/containers/0";
    let cases = [
        ("Deployment", pod, "hostNetwork", json!(true), "hostNetwork"),
        ("Deployment", pod, "volumes", json!([{"name": "a", "hostPath": {"path": "/"}}]), "hostPath"),
        ("Deployment", pod, "securityContext", json!({}), "runAsNonRoot"),
        ("Job", pod, "automountServiceAccountToken", Value::Null, "automountServiceAccountToken"),
        ("Job", container, "image", json!("portcullis-operator:latest"), "latest"),
        ("Job", container, "image", json!("registry:5000/portcullis-operator"), "has no tag"),
        ("Deployment", container, "securityContext", json!({"privileged": true}), "privileged"),
        ("Deployment", container, "ports", json!([{"containerPort": 1, "hostPort": 1}]), "hostPort"),
        ("ClusterRole", "", "rules", json!([{"apiGroups": ["*"], "resources": ["a"], "verbs": ["get"]}]), "*"),
        ("Role", "", "rules", json!([{"apiGroups": [""], "resources": ["a"], "verbs": ["bind"]}]), "bind"),
        (
            "ClusterRole",
            "",
            "rules",
            json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]),
            "secrets",
        ),
        (
            "ClusterRole",
            "",
            "rules",
            json!([{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}]),
            "exec",
        ),
        ("ClusterRoleBinding", "/roleRef", "name", json!("cluster-admin"), "cluster-admin"),
        ("Service", "", "kind", json!("Secret"), "is a Secret"),
        ("Service", "/spec", "type", json!("LoadBalancer"), "LoadBalancer"),
    ];
    for (kind, at, key, value, expected) in cases {
        let mut object = objects.iter().find(|object| object["kind"] == kind).unwrap().clone();
        object.pointer_mut(at).unwrap()[key] = value;
        let found = findings(&object).join("\n");
        assert!(found.contains(expected), "{kind} {at}/{key}: {found:?}");
    }
}

/// What an object should not have.
fn findings(object: &Value) -> Vec<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let mut found = match kind {
        "Secret" => vec!["is a Secret".to_owned()],
        "ClusterRole" | "Role" => list(&object["rules"]).iter().flat_map(of_rule).collect(),
        "ClusterRoleBinding" | "RoleBinding" => of_binding(object),
        "Deployment" | "Job" => of_pod(&object["spec"]["template"]["spec"]),
        "Pod" => of_pod(&object["spec"]),
        "Service" => of_service(&object["spec"]),
        "ServiceAccount" if object["automountServiceAccountToken"] != false => vec!["mounts its token".to_owned()],
        "ServiceAccount" | "CustomResourceDefinition" | "McpServer" | "McpClient" => vec![],
        other => vec![format!("{other} is a kind that is not looked at")],
    };
    for finding in &mut found {
        *finding = format!("{}: {finding}", name(object));
    }
    found
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn of_rule(rule: &Value) -> Vec<String> {
    let words = |key: &str| list(&rule[key]).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let (resources, verbs) = (words("resources"), words("verbs"));
    let all = ["apiGroups", "resources", "verbs", "resourceNames", "nonResourceURLs"].into_iter().flat_map(words);
    let mut found: Vec<String> = all.filter(|word| word.contains('*')).map(|word| format!("wildcard {word}")).collect();
    let privileges = verbs.iter().filter(|verb| ["escalate", "bind", "impersonate"].contains(verb));
    found.extend(privileges.map(|verb| format!("verb {verb}")));
    let ways_in = resources.iter().filter(|it| {
        ["exec", "attach", "portforward", "proxy", "token"].iter().any(|way| it.ends_with(&format!("/{way}")))
    });
    found.extend(ways_in.map(|it| format!("resource {it}")));
    if resources.contains(&"secrets") && verbs.iter().any(|verb| ["list", "watch", "deletecollection"].contains(verb)) {
        found.push("lists secrets".to_owned());
    }
    found
}

/// A binding grants only roles of the chart.
fn of_binding(binding: &Value) -> Vec<String> {
    let role = binding["roleRef"]["name"].as_str().unwrap_or_default();
    if role.starts_with("portcullis-operator") { vec![] } else { vec![format!("grants {role}")] }
}

fn of_service(service: &Value) -> Vec<String> {
    match service["type"].as_str() {
        None | Some("ClusterIP") => vec![],
        Some(other) => vec![format!("is a {other}")],
    }
}

/// The rules of restricted Pod Security, and more.
fn of_pod(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut expect = |is_so: bool, what: &str| {
        if !is_so {
            found.push(what.to_owned());
        }
    };
    for key in ["hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace", "hostAliases"] {
        expect(pod[key].is_null(), key);
    }
    let security = &pod["securityContext"];
    expect(security["runAsNonRoot"] == true, "runAsNonRoot is not set");
    expect(security["runAsUser"].as_u64().is_some_and(|uid| uid > 10_000), "runAsUser is one of the node's");
    expect(security["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile is not set");
    expect(security["sysctls"].is_null(), "sysctls");
    expect(pod["automountServiceAccountToken"].is_boolean(), "automountServiceAccountToken is not decided");
    expect(pod["enableServiceLinks"] == false, "enableServiceLinks");
    for volume in list(&pod["volumes"]) {
        expect(volume["hostPath"].is_null(), "hostPath");
    }
    for container in list(&pod["containers"]).iter().chain(list(&pod["initContainers"])) {
        let security = &container["securityContext"];
        expect(security["privileged"].is_null(), "privileged");
        expect(security["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation is not off");
        expect(security["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem is not set");
        expect(security["capabilities"] == json!({"drop": ["ALL"]}), "capabilities are not all dropped");
        expect(container["env"].is_null() && container["envFrom"].is_null(), "the environment is set");
        for port in list(&container["ports"]) {
            expect(port["hostPort"].is_null(), "hostPort");
        }
        let image = container["image"].as_str().unwrap_or_default().split('@').next().unwrap_or_default();
        let tag = image.rsplit('/').next().and_then(|name| name.split_once(':')).map(|(_, tag)| tag);
        expect(tag.is_some_and(|tag| !tag.is_empty()), "an image has no tag");
        expect(tag != Some("latest"), "an image has the tag latest");
    }
    found
}
