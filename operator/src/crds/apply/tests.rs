use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use portcullis_crds::manifest;

use super::*;

fn definition() -> CustomResourceDefinition {
    let (_, mut definition) = manifest::all().into_iter().next().unwrap();
    definition.status = serde_json::from_value(serde_json::json!({"storedVersions": ["v1alpha1"]})).unwrap();
    definition
}

/// What makes a definition another one, and why it is refused then.
type Case = (fn(&mut CustomResourceDefinition), &'static str);

#[test]
fn a_definition_is_refused_that_is_not_ours_or_whose_objects_would_be_lost() {
    let cases: [Case; 6] = [
        (|_| {}, ""),
        (|it| it.spec.versions[0].name = "v0".into(), ""),
        (
            |it| it.spec.scope = "Cluster".into(),
            "is for Cluster McpClient of portcullis.dev, and Portcullis's is for Namespaced",
        ),
        (|it| it.spec.names.kind = "Other".into(), "is for Namespaced Other of portcullis.dev"),
        (
            |it| it.metadata.annotations = Some([(HELM_RELEASE.to_owned(), "platform".to_owned())].into()),
            "belongs to the templates of the Helm release platform",
        ),
        (
            |it| it.status.as_mut().unwrap().stored_versions = Some(vec!["v1alpha1".into(), "v0".into(), "v00".into()]),
            "has objects that are stored as v0, v00, and this release does not serve that",
        ),
    ];
    for (change, expected) in cases {
        let (wanted, mut live) = (definition().spec, definition());
        change(&mut live);
        let found =
            check("mcpclients.portcullis.dev", &live, &wanted).err().map(|it| it.to_string()).unwrap_or_default();
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{expected:?}: {found:?}");
    }
}

#[test]
fn a_controller_of_a_definition_is_its_owner_and_another_reference_is_not() {
    let mut live = definition();
    let mut reference = OwnerReference { kind: "Platform".into(), name: "main".into(), ..OwnerReference::default() };
    live.metadata.owner_references = Some(vec![reference.clone()]);
    assert_eq!(owner(&live), None);
    reference.controller = Some(true);
    live.metadata.owner_references = Some(vec![reference]);
    assert_eq!(owner(&live), Some("Platform main".to_owned()));
}
