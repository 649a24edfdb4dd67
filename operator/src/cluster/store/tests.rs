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

fn replace(store: &Store<Thing>, list: Vec<Thing>) -> Vec<Change<Thing>> {
    store.replace(&Scope::All, store.begin_list(), list)
}

fn held(store: &Store<Thing>, name: &'static str) -> Option<u64> {
    store.get(&thing(name, 0).namespaced_name()).map(|thing| thing.version())
}

#[test]
fn an_answer_to_a_write_is_undone_by_nothing_late_and_every_change_is_passed_on() {
    let store = Store::new(&Scopes::all());
    assert_eq!(store.event(thing("a", 4)), Some(change(None, Some(thing("a", 4)))));
    assert_eq!(store.answer(thing("a", 6)), Some(change(Some(thing("a", 4)), Some(thing("a", 6)))));
    assert_eq!(store.event(thing("a", 5)), None, "the watch is late");
    assert_eq!(store.answer(thing("a", 5)), None, "another write's answer is late");
    assert_eq!(store.event(thing("a", 6)), None, "the watch has caught up");
    assert_eq!(store.remove(&thing("a", 8)), Some(change(Some(thing("a", 6)), None)));
    assert_eq!(store.answer(thing("a", 7)), None, "an answer to a write before the deletion");
    assert_eq!(store.answer(thing("a", 9)), Some(change(None, Some(thing("a", 9)))));
    assert_eq!(store.remove(&thing("a", 8)), None, "the deletion of the object before");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_watch_never_delivers_does_not_hide_its_events_for_ever() {
    let store = Store::new(&Scopes::all());
    let _ = store.answer(thing("a", 900));
    assert_eq!(store.event(thing("a", 5)), None);
    tokio::time::advance(AHEAD).await;
    assert_eq!(store.event(thing("a", 6)), Some(change(Some(thing("a", 900)), Some(thing("a", 6)))));
    assert_eq!(store.event(thing("a", 5)), Some(change(Some(thing("a", 6)), Some(thing("a", 5)))), "the watch decides");
}

#[test]
fn a_list_reports_what_is_new_changed_and_deleted_and_nothing_else() {
    let store = Store::new(&Scopes::all());
    replace(&store, vec![thing("same", 1), thing("changed", 2), thing("deleted", 3), thing("restored", 9)]);
    let list = vec![thing("same", 1), thing("changed", 5), thing("new", 6), thing("restored", 8)];
    assert_eq!(
        replace(&store, list),
        [
            change(Some(thing("changed", 2)), Some(thing("changed", 5))),
            change(None, Some(thing("new", 6))),
            change(Some(thing("restored", 9)), Some(thing("restored", 8))),
            change(Some(thing("deleted", 3)), None),
        ]
    );
}

#[test]
fn a_list_replaces_all_but_the_answers_that_arrived_while_it_was_made() {
    let store = Store::new(&Scopes::all());
    let _ = store.answer(thing("before", 9));
    let start = store.begin_list();
    let _ = store.answer(thing("meanwhile", 9));
    let _ = store.answer(thing("older", 3));
    let list = vec![thing("before", 8), thing("meanwhile", 8), thing("older", 8)];
    let _ = store.replace(&Scope::All, start, list);
    assert_eq!(["before", "meanwhile", "older"].map(|name| held(&store, name)), [Some(8), Some(9), Some(8)]);
}

#[test]
fn the_same_version_with_another_content_is_a_change() {
    #[derive(Debug, PartialEq)]
    struct Content(&'static str);
    impl Stored for Content {
        fn namespaced_name(&self) -> NamespacedName {
            crm("sales")
        }

        fn version(&self) -> u64 {
            7
        }
    }
    let store = Store::new(&Scopes::all());
    let _ = store.event(Content("before the restore"));
    assert_eq!(store.replace(&Scope::All, store.begin_list(), vec![Content("after it")]).len(), 1);
    assert_eq!(store.replace(&Scope::All, store.begin_list(), vec![Content("after it")]), []);
}

#[test]
fn the_objects_of_a_server_are_found_by_their_label() {
    let store = Store::new(&Scopes::all());
    let _ = store.event(thing("b", 1));
    let _ = store.event(thing("a", 1));
    let _ = store.event(Thing("marketing", "a", 1));
    assert_eq!(store.of_server(&crm("sales")), [Arc::new(thing("a", 1)), Arc::new(thing("b", 1))]);
    let _ = store.remove(&thing("a", 2));
    assert_eq!(store.of_server(&crm("sales")), [Arc::new(thing("b", 1))]);
}

#[tokio::test]
async fn only_a_complete_list_makes_a_store_synced() {
    let store = Store::new(&Scopes::all());
    let _ = store.event(thing("a", 1));
    assert!(!is_synced(&store).await);
    replace(&store, Vec::new());
    assert!(is_synced(&store).await);
    assert_eq!(store.all(), []);
}

#[tokio::test]
async fn a_list_of_one_namespace_says_nothing_about_another() {
    let store = Store::new(&Scopes::namespaces(["sales".into(), "marketing".into()]));
    let replace = |scope: &Scope, list| store.replace(scope, store.begin_list(), list);
    let [marketing, sales] = ["marketing", "sales"].map(|namespace| Scope::Namespace(namespace.into()));
    let _ = replace(&sales, vec![thing("a", 1)]);
    assert!(!is_synced(&store).await, "the other namespace was not listed yet");
    let changes = replace(&marketing, vec![Thing("marketing", "a", 2)]);
    assert_eq!(changes, [change(None, Some(Thing("marketing", "a", 2)))]);
    assert!(is_synced(&store).await);
    assert_eq!(replace(&marketing, Vec::new()), [change(Some(Thing("marketing", "a", 2)), None)]);
    assert_eq!(store.all(), [Arc::new(thing("a", 1))]);
}
