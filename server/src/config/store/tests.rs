mod mixes;
mod mutations;

use std::time::Duration;

use portcullis_crds::contract::{CREDENTIALS_FILE, POLICY_FILE};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    config::fixtures::policy,
    identity::{
        Presented,
        fixtures::{client, credentials},
    },
    net::ConnectionFacts,
    protocol::headers::Pairs,
    supervise::faults,
};

fn store(directory: &TempDir) -> Store {
    Store::new(StoreSettings::of(directory.path()))
}

fn write(directory: &TempDir, name: &str, document: &Value) {
    std::fs::write(directory.path().join(name), document.to_string()).unwrap();
}

/// The tools that exist, and the number of clients.
fn in_force(store: &Store) -> (Vec<String>, usize) {
    let snapshot = store.current().unwrap();
    (snapshot.tools.by_name.keys().map(ToString::to_string).collect(), snapshot.clients)
}

#[test]
fn a_policy_whose_server_half_is_refused_still_removes_clients() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    write(&directory, CREDENTIALS_FILE, &credentials(&["a", "b"]));
    write(&directory, POLICY_FILE, &policy(&[client("a", &json!({})), client("b", &json!({}))]));
    store.reload();
    assert_eq!(in_force(&store), (vec!["greet".to_owned()], 2));

    for (name, value) in [("later", json!([])), ("tools", json!([])), ("backends", json!([]))] {
        let mut newer = policy(&[client("a", &json!({}))]);
        newer["spec"][name] = value;
        write(&directory, POLICY_FILE, &newer);
        let reload = store.reload();
        assert!(reload.policy.is_loaded && reload.policy.refused.is_some(), "{name}");
        assert_eq!(in_force(&store), (vec!["greet".to_owned()], 1), "{name}");
        assert!(store.errors().policy, "{name}");
        assert_eq!(store.current().unwrap().complete_revision, None, "{name}");
    }
    write(&directory, POLICY_FILE, &policy(&[]));
    store.reload();
    assert_eq!(in_force(&store), (vec!["greet".to_owned()], 0));
    assert!(!store.errors().policy);
}

#[test]
fn a_reload_that_panics_is_seen_in_the_errors_and_made_again_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    write(&directory, CREDENTIALS_FILE, &credentials(&["a", "b"]));
    write(&directory, POLICY_FILE, &policy(&[client("a", &json!({})), client("b", &json!({}))]));
    store.reload();
    write(&directory, POLICY_FILE, &policy(&[client("a", &json!({}))]));
    faults::plan(&format!("reload of {}", directory.path().display()), 2);
    for _ in 0..2 {
        assert!(catch_unwind(AssertUnwindSafe(|| store.reload())).is_err());
        assert_eq!(store.errors(), DocumentErrors { policy: true, credentials: true });
        assert_eq!(in_force(&store).1, 2, "the last one stays in force");
    }
    store.reload();
    assert_eq!((store.errors(), in_force(&store).1), (DocumentErrors::default(), 1), "the removal is not lost");
}

#[test]
fn documents_that_nobody_reads_any_longer_are_seen_in_the_errors() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    store.reload();
    let now = Instant::now();
    assert_eq!([now, now + STALE * 2].map(|now| store.is_stale(now)), [false, true]);
}

#[test]
fn nothing_is_granted_by_a_policy_whose_server_half_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    write(&directory, CREDENTIALS_FILE, &credentials(&["a", "b"]));
    write(&directory, POLICY_FILE, &policy(&[client("a", &json!({}))]));
    store.reload();
    let both = [client("a", &json!({"allowWrite": true})), client("b", &json!({}))];
    let mut newer = policy(&both);
    newer["spec"]["later"] = json!([]);
    let may_write = |store: &Store| {
        ["a", "b"].map(|id| {
            let (snapshot, key) = (store.current().unwrap(), format!("key-of-{id}"));
            let connection = ConnectionFacts { peer: "192.0.2.1:1".parse().unwrap() };
            let presented = Presented { headers: &Pairs(&[("x-api-key", &key)]), connection: &connection };
            snapshot.identify(&presented, Duration::ZERO).ok().map(|identity| identity.client.allow_write)
        })
    };
    for clients in [&both[..], &[], &both[..]] {
        newer["clients"] = json!(clients);
        write(&directory, POLICY_FILE, &newer);
        assert!(store.reload().policy.is_loaded);
        let of_a = (!clients.is_empty()).then_some(false);
        assert_eq!(may_write(&store), [of_a, None], "the unknown field may be the reason why `b` was granted the tool");
    }
    write(&directory, POLICY_FILE, &policy(&both));
    store.reload();
    assert_eq!(may_write(&store), [Some(true), Some(false)]);
}

#[test]
fn a_revision_is_reported_as_complete_only_while_all_of_it_is_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let (whole, keys) = (policy(&[client("a", &json!({}))]), credentials(&["a"]));
    let mut partial = policy(&[]);
    partial["spec"]["later"] = json!([]);
    let mut partial_keys = credentials(&["a"]);
    partial_keys["later"] = json!([]);
    let complete = |policy: &Value, credentials: &Value| {
        write(&directory, POLICY_FILE, policy);
        write(&directory, CREDENTIALS_FILE, credentials);
        store.reload();
        let snapshot = store.current().unwrap();
        [snapshot.complete_revision.is_some(), snapshot.complete_credentials_revision.is_some()]
    };
    assert_eq!(complete(&whole, &keys), [true, true]);
    assert_eq!(complete(&partial, &keys), [false, true], "its clients replaced those of the revision before");
    assert_eq!(complete(&whole, &partial_keys), [true, false]);
    // A document that is refused as a whole changes nothing of what is in force.
    assert_eq!(complete(&json!({}), &json!({})), [true, false]);
    assert_eq!(complete(&json!({}), &keys), [true, true]);
}

#[test]
fn a_client_with_an_unknown_restriction_is_denied_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    write(&directory, CREDENTIALS_FILE, &credentials(&["a", "b"]));
    write(&directory, POLICY_FILE, &policy(&[client("a", &json!({"later": ["/email"]})), client("b", &json!({}))]));
    let reload = store.reload();
    assert_eq!(in_force(&store).1, 1);
    assert_eq!(reload.policy.refused.unwrap().field, "clients[0].later");
}

#[test]
fn credentials_with_an_unknown_field_grant_nothing_new_and_take_away_at_once() {
    let whole = credentials(&["a", "b", "c"]);
    let mut newer = credentials(&["a", "b", "c", "d"]);
    newer["later"] = json!({"onlyFrom": "10.0.0.0/8"});
    // `b` is another client now, and `c` has another key.
    newer["clients"][1]["uid"] = json!("other");
    newer["clients"][2]["apiKeys"] = newer["clients"][3]["apiKeys"].take();
    newer["clients"].as_array_mut().unwrap().pop();
    let callers = |store: &Store| {
        let snapshot = store.current().unwrap();
        let connection = ConnectionFacts { peer: "192.0.2.1:1".parse().unwrap() };
        let is_known = |id: &&str| {
            let key = format!("key-of-{id}");
            let presented = Presented { headers: &Pairs(&[("x-api-key", &key)]), connection: &connection };
            snapshot.identify(&presented, Duration::ZERO).is_ok()
        };
        ["a", "b", "c", "d"].into_iter().filter(is_known).collect::<Vec<_>>()
    };
    let of = |uid_of_b: &str| {
        policy(&[client("a", &json!({})), client("b", &json!({"uid": uid_of_b})), client("c", &json!({}))])
    };
    let [of_running, of_started] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [running, started] = [&of_running, &of_started].map(store);
    let load = |store: &Store, directory: &TempDir, policy: &Value, credentials: &Value| {
        write(directory, POLICY_FILE, policy);
        write(directory, CREDENTIALS_FILE, credentials);
        store.reload();
        callers(store)
    };
    let uid = whole["clients"][1]["uid"].as_str().unwrap();
    assert_eq!(load(&running, &of_running, &of(uid), &whole), ["a", "b", "c"]);
    for document in [&newer, &newer] {
        assert_eq!(load(&running, &of_running, &of("other"), document), ["a"]);
    }
    assert_eq!(load(&started, &of_started, &of("other"), &newer), [""; 0], "nothing is known to be granted");
    newer["clients"].as_array_mut().unwrap().remove(0);
    assert_eq!(load(&running, &of_running, &of("other"), &newer), [""; 0], "what is taken away is gone at once");
    assert_eq!(load(&running, &of_running, &of(uid), &whole), ["a", "b", "c"]);
}
