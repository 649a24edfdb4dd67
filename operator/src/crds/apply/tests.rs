use std::sync::{Arc, Mutex};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use portcullis_crds::manifest;
use serde_json::json;

use super::*;
use crate::cluster::testing::in_process;

fn definition() -> CustomResourceDefinition {
    let (_, mut definition) = manifest::all().into_iter().next().unwrap();
    definition.status = serde_json::from_value(json!({"storedVersions": ["v1alpha1"]})).unwrap();
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

#[tokio::test]
async fn a_definition_of_a_newer_release_stays_and_any_other_one_becomes_that_of_this_release() {
    let ours = env!("CARGO_PKG_VERSION");
    for (stated, has_same_spec, expected) in [
        (Some("999.0.0"), false, Outcome::Newer(Version::new(999, 0, 0))),
        (Some("999.0.0"), true, Outcome::Newer(Version::new(999, 0, 0))),
        (Some("0.0.1-rc.1"), false, Outcome::Replaced),
        (Some("newest"), false, Outcome::Replaced),
        (None, false, Outcome::Replaced),
        (None, true, Outcome::Replaced),
        (Some(ours), false, Outcome::Replaced),
        (Some(ours), true, Outcome::Unchanged),
    ] {
        let wanted = with_defaults(definition());
        let mut live = wanted.clone();
        live.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
        live.metadata
            .annotations
            .as_mut()
            .unwrap()
            .extend(stated.map(|it| (manifest::RELEASE.to_owned(), it.to_owned())));
        if !has_same_spec {
            live.spec.versions[0].schema = None;
        }
        let written = Arc::new(Mutex::new(None));
        let seen = written.clone();
        let client = in_process(move |request| {
            if request.method == "PUT" {
                *seen.lock().unwrap() = Some(request.body["metadata"]["annotations"].clone());
            }
            Some((200, serde_json::to_value(&live).unwrap()))
        });
        let cluster = Cluster::new(client, Fence::open());
        let outcome = attempt(&cluster, "mcpclients.portcullis.dev", &wanted).await.unwrap();
        assert_eq!(outcome, expected, "{stated:?}, {has_same_spec}");
        let replaced = (expected == Outcome::Replaced).then(|| json!({"a": "b", manifest::RELEASE: ours}));
        assert_eq!(written.lock().unwrap().take(), replaced, "{stated:?}, {has_same_spec}");
    }
}
