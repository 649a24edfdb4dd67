use std::time::Duration;

use super::*;

/// An object of server `crm`, by its namespace, name and version.
#[derive(Debug, PartialEq)]
struct Thing(&'static str, &'static str, u64);

impl Stored for Thing {
    fn namespaced_name(&self) -> NamespacedName {
        NamespacedName { namespace: self.0.into(), name: self.1.into() }
    }

    fn version(&self) -> u64 {
        self.2
    }

    fn server(&self) -> Option<NamespacedName> {
        Some(crm(self.0))
    }
}

fn crm(namespace: &str) -> NamespacedName {
    NamespacedName { namespace: namespace.into(), name: "crm".into() }
}

fn thing(name: &'static str, version: u64) -> Thing {
    Thing("sales", name, version)
}

fn change(old: Option<Thing>, new: Option<Thing>) -> Change<Thing> {
    Change { old: old.map(Arc::new), new: new.map(Arc::new) }
}

async fn is_synced(store: &Store<Thing>) -> bool {
    tokio::time::timeout(Duration::from_millis(10), store.synced()).await.is_ok()
}

#[test]
fn a_late_version_undoes_nothing() {
    let store = Store::new(&Scopes::all());
    assert_eq!(store.update(thing("a", 5)), Some(change(None, Some(thing("a", 5)))));
    assert_eq!(store.update(thing("a", 4)), None);
    assert_eq!(store.update(thing("a", 5)), None);
    assert_eq!(store.remove(&thing("a", 7)), Some(change(Some(thing("a", 5)), None)));
    assert_eq!(store.update(thing("a", 6)), None, "an answer to a write before the deletion");
    assert_eq!(store.update(thing("a", 8)), Some(change(None, Some(thing("a", 8)))));
}

#[test]
fn a_list_replaces_what_is_known_also_by_older_versions_and_reports_what_differs() {
    let store = Store::new(&Scopes::all());
    store.replace(&Scope::All, vec![thing("same", 1), thing("changed", 2), thing("deleted", 3), thing("ahead", 9)]);
    store.remove(&thing("again", 9));
    let list = vec![thing("same", 1), thing("changed", 5), thing("new", 6), thing("ahead", 8), thing("again", 7)];
    let changes = store.replace(&Scope::All, list);
    assert_eq!(
        changes,
        [
            change(Some(thing("changed", 2)), Some(thing("changed", 5))),
            change(None, Some(thing("new", 6))),
            change(Some(thing("ahead", 9)), Some(thing("ahead", 8))),
            change(None, Some(thing("again", 7))),
            change(Some(thing("deleted", 3)), None),
        ]
    );
    assert_eq!(store.update(thing("ahead", 9)), Some(change(Some(thing("ahead", 8)), Some(thing("ahead", 9)))));
}

#[test]
fn the_objects_of_a_server_are_found_by_their_label() {
    let store = Store::new(&Scopes::all());
    store.update(thing("b", 1));
    store.update(thing("a", 1));
    store.update(Thing("marketing", "a", 1));
    assert_eq!(store.of_server(&crm("sales")), [Arc::new(thing("a", 1)), Arc::new(thing("b", 1))]);
    store.remove(&thing("a", 2));
    assert_eq!(store.of_server(&crm("sales")), [Arc::new(thing("b", 1))]);
}

#[tokio::test]
async fn only_a_complete_list_makes_a_store_synced() {
    let store = Store::new(&Scopes::all());
    store.update(thing("a", 1));
    assert!(!is_synced(&store).await);
    store.replace(&Scope::All, Vec::new());
    assert!(is_synced(&store).await);
    assert_eq!(store.all(), []);
}

#[tokio::test]
async fn a_list_of_one_namespace_says_nothing_about_another() {
    let store = Store::new(&Scopes::namespaces(["sales".into(), "marketing".into()]));
    let [marketing, sales] = ["marketing", "sales"].map(|namespace| Scope::Namespace(namespace.into()));
    store.replace(&sales, vec![thing("a", 1)]);
    assert!(!is_synced(&store).await, "the other namespace was not listed yet");
    let changes = store.replace(&marketing, vec![Thing("marketing", "a", 2)]);
    assert_eq!(changes, [change(None, Some(Thing("marketing", "a", 2)))]);
    assert!(is_synced(&store).await);
    assert_eq!(store.replace(&marketing, Vec::new()), [change(Some(Thing("marketing", "a", 2)), None)]);
    assert_eq!(store.all(), [Arc::new(thing("a", 1))]);
}
