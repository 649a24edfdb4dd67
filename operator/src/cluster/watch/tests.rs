//! Against an API server that fails in the ways that real ones do.

use serde_json::json;

use super::*;
use crate::cluster::{
    fence::Fence,
    object::OwnedObject,
    scope::Scopes,
    testing::{FakeApi, list, list_in, refusal},
};
use crate::supervise::faults;

fn config_maps(api: &FakeApi, scope: Scope, presence: Option<Arc<Presence>>) -> Watch {
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
    let cluster = Cluster::new(api.client(), Fence::open());
    Watch::new(&cluster, &Supervisor::default(), resource, scope).if_served(presence)
}

async fn run(watch: Watch, store: &Arc<Store<OwnedObject>>) {
    watch.run(Arc::clone(store), false, |object| Some(object.into()), |_| ()).await;
}

/// Waits until the store holds exactly these.
async fn holds(store: &Store<OwnedObject>, names: &[&str]) {
    let held = async {
        loop {
            let mut held: Vec<String> = store.all().iter().map(|object| object.namespaced_name().to_string()).collect();
            held.sort();
            if held == names {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), held).await.expect("the store must come to hold them");
}

#[tokio::test]
async fn a_watch_that_is_refused_with_410_when_it_starts_begins_with_a_list_again() {
    let api = FakeApi::in_turn(vec![list("5", &["a"]), refusal(410), list("9", &["a", "b"])]).await;
    let store = Arc::new(Store::new(&Scopes::all()));
    tokio::select! {
        () = run(config_maps(&api, Scope::All, None), &store) => {}
        () = holds(&store, &["sales/a", "sales/b"]) => {}
    }
    let are_watches: Vec<bool> = api.requests().iter().map(|request| request.is_watch()).collect();
    assert_eq!(are_watches[..3], [false, true, false]);
}

/// An event of a watch with an object of this version; `deep` is how many lists are nested in it.
fn event(kind: &str, name: &str, version: &str, deep: usize) -> String {
    let metadata = json!({"name": name, "namespace": "sales", "resourceVersion": version});
    let data = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
    format!(r#"{{"type":"{kind}","object":{{"data":{data},"metadata":{metadata}}}}}"#) + "\n"
}

#[tokio::test]
async fn an_object_of_any_depth_takes_no_other_one_with_it() {
    let deep = |name: &str| event("x", name, "3", 5000).replace(r#"{"type":"x","object":"#, "").replace("}}\n", "}");
    let list = format!(r#"{{"metadata":{{"resourceVersion":"5"}},"items":[{},{}]}}"#, deep("a"), deep("b"));
    let events = [event("ADDED", "c", "6", 5000), event("BOOKMARK", "", "7", 1), event("MODIFIED", "d", "8", 1)];
    let api = FakeApi::of_texts(vec![list, events.concat()]).await;
    let store = Arc::new(Store::new(&Scopes::all()));
    tokio::select! {
        () = run(config_maps(&api, Scope::All, None), &store) => {}
        () = holds(&store, &["sales/a", "sales/b", "sales/c", "sales/d"]) => {}
    }
}

#[tokio::test]
async fn everything_is_listed_again_after_versions_went_backwards_and_after_a_watch_that_ended_early() {
    for events in [event("MODIFIED", "a", "3", 1), event("ADDED", "b", "6", 1), String::new()] {
        let mut texts = vec![list("5", &["a", "b"]).1.to_string(), events.clone()];
        texts.push(list("4", &["a", "c"]).1.to_string());
        let api = FakeApi::of_texts(texts).await;
        let store = Arc::new(Store::new(&Scopes::all()));
        tokio::select! {
            () = run(config_maps(&api, Scope::All, None), &store) => {}
            () = holds(&store, &["sales/a", "sales/c"]) => {}
        }
        assert!(store.all().iter().all(|object| object.version() == 4), "{events}");
    }
}

#[tokio::test]
async fn a_list_that_is_refused_is_not_an_empty_list() {
    let api = FakeApi::in_turn(vec![refusal(404), refusal(403), refusal(500), list("9", &["a"])]).await;
    let store = Arc::new(Store::new(&Scopes::all()));
    let synced = async {
        tokio::select! {
            () = run(config_maps(&api, Scope::All, None), &store) => {}
            () = store.synced() => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(60), synced).await.expect("the fourth answer must be taken");
    assert_eq!(store.all().len(), 1, "synced by the first list that was answered, and by nothing before");
}

#[tokio::test]
async fn the_watches_of_two_namespaces_feed_one_store_and_each_lists_its_own() {
    let api = FakeApi::start(|request| {
        if request.is_watch() {
            return None;
        }
        let namespace = request.path.split('/').nth(4).unwrap_or_default().to_owned();
        Some(list_in(&namespace, "5", &["a"]))
    })
    .await;
    let scopes = Scopes::namespaces(["sales".into(), "marketing".into()]);
    let store = Arc::new(Store::new(&scopes));
    let mut watches = tokio::task::JoinSet::new();
    for scope in scopes.iter() {
        let watch = config_maps(&api, scope.clone(), None);
        watches.spawn(watch.run(Arc::clone(&store), false, |object| Some(object.into()), |_| ()));
    }
    holds(&store, &["marketing/a", "sales/a"]).await;
    store.synced().await;
}

#[tokio::test]
async fn a_kind_that_the_cluster_lacks_is_looked_for_and_watched_once_it_is_there() {
    let mut is_served = [false, true].into_iter();
    let resources = json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        {"name": "configmaps", "singularName": "", "namespaced": true, "kind": "ConfigMap", "verbs": ["list", "watch"]},
    ]});
    let api = FakeApi::start(move |request| match request.path.as_str() {
        "/api/v1" if is_served.next() == Some(false) => Some(refusal(404)),
        "/api/v1" => Some((200, resources.clone())),
        _ if request.is_watch() => None,
        _ => Some(list("5", &["a"])),
    })
    .await;
    let (store, presence) = (Arc::new(Store::new(&Scopes::all())), Arc::new(Presence::default()));
    let watch = config_maps(&api, Scope::All, Some(Arc::clone(&presence)));
    let (cluster, resource) = (watch.cluster.clone(), watch.resource.clone());
    let progress = Supervisor::default().progress(Task::Presence);
    let (sender, mut appeared) = tokio::sync::mpsc::unbounded_channel();
    tokio::select! {
        () = presence.follow(&cluster, &resource, Duration::from_millis(20), &progress, || sender.send(()).unwrap_or_default()) => {}
        () = run(watch, &store) => {}
        () = holds(&store, &["sales/a"]) => {}
    }
    assert!(presence.is_served());
    assert_eq!(appeared.try_recv(), Ok(()));
    let paths: Vec<String> = api.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[..2], ["/api/v1", "/api/v1"], "nothing is listed before");
}

#[tokio::test]
async fn after_a_panic_everything_is_listed_and_passed_on_again() {
    let api = FakeApi::start(|request| (!request.is_watch()).then(|| list_in("panics", "5", &["a", "b"]))).await;
    let (supervisor, store) = (Supervisor::default(), Arc::new(Store::new(&Scopes::all())));
    let watch = config_maps(&api, Scope::Namespace("panics".into()), None);
    assert_eq!(watch.name().to_string(), "watch configmaps in panics");
    faults::plan("watch configmaps in panics", 2);
    let (sender, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let task = supervisor.keep(watch.name(), |is_again| {
        let sender = sender.clone();
        let changed = move |change: Change<OwnedObject>| {
            sender.send((is_again, change.new.unwrap().namespaced_name().to_string())).unwrap();
        };
        watch.clone().run(Arc::clone(&store), is_again, |object| Some(object.into()), changed)
    });
    let passed_on = async {
        let mut passed_on = Vec::new();
        while passed_on.len() < 6 {
            passed_on.push(changes.recv().await.unwrap());
        }
        passed_on.sort();
        passed_on
    };
    let both = |is_again| ["panics/a", "panics/b"].map(|name| (is_again, name.to_owned()));
    let again = [both(true)[0].clone(), both(true)[0].clone(), both(true)[1].clone(), both(true)[1].clone()];
    tokio::select! {
        gave_up = task => panic!("{gave_up}"),
        passed_on = passed_on => assert_eq!(passed_on, [&both(false)[..], &again].concat()),
    }
    assert_eq!(supervisor.metrics().restarts(Task::Watch), 2);
}

#[tokio::test]
async fn an_object_at_which_the_operator_panics_takes_no_other_one_with_it() {
    let api = FakeApi::start(|request| (!request.is_watch()).then(|| list("5", &["cursed", "good"]))).await;
    let store = Arc::new(Store::new(&Scopes::all()));
    let watch = config_maps(&api, Scope::All, None);
    let metrics = watch.cluster.metrics().clone();
    faults::plan("view of cursed", 1);
    tokio::select! {
        () = run(watch, &store) => {}
        () = holds(&store, &["sales/good"]) => {}
    }
    assert_eq!(metrics.restarts(Task::Change), 1);
}

#[tokio::test]
async fn a_watch_says_whether_it_is_live_and_is_never_stuck_because_the_api_server_is_away() {
    let api = FakeApi::in_turn(vec![refusal(500), list("5", &["a"])]).await;
    let (supervisor, store) = (Supervisor::default(), Arc::new(Store::new(&Scopes::all())));
    let cluster = Cluster::new(api.client(), Fence::open());
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&());
    let watch = Watch::new(&cluster, &supervisor, resource, Scope::All);
    let unready = || supervisor.unready().join("; ");
    assert_eq!(unready(), "watch configmaps: not listed yet, for 0 s");
    let seen = async {
        while !unready().contains("the API server failed (HTTP 5xx)") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(supervisor.stuck(), [] as [String; 0]);
        holds(&store, &["sales/a"]).await;
    };
    tokio::select! {
        () = run(watch, &store) => {}
        () = seen => {}
    }
    // The watch itself is never answered: within its time that is no reason to be restarted.
    assert!(!unready().is_empty());
    assert_eq!(supervisor.stuck(), [] as [String; 0]);
}
