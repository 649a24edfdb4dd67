use super::*;
use crate::manifests::Files;

/// The folder with these clients and their Secrets.
fn folder(before: &Folder, clients: &[(&str, &str)]) -> Folder {
    let client = |(name, secret): &(&str, &str)| {
        let text = format!(
            "{{apiVersion: portcullis.dev/v1alpha1, kind: McpClient, metadata: {{name: {name}, namespace: sales}},
              spec: {{access: [], credentials: {{apiKey: {{secretName: {secret}}}}}}}}}"
        );
        (format!("{name}.yaml"), Ok(text.into_bytes()))
    };
    let (folder, problems) = before.update(&clients.iter().map(client).collect::<Files>());
    assert_eq!(problems, []);
    folder
}

fn name(client: &str) -> NamespacedName {
    NamespacedName { namespace: "sales".into(), name: client.into() }
}

fn key_file(cluster: &LocalClusterState, client: &str) -> Option<std::path::PathBuf> {
    cluster.client_keys.files(&name(client)).next().map(|(_, file)| file)
}

fn key_of(cluster: &LocalClusterState, client: &str) -> Option<String> {
    key_file(cluster, client).map(|path| fs::read_to_string(path).unwrap())
}

#[test]
fn a_key_belongs_to_one_client_and_another_one_that_names_its_secret_gets_a_new_key() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path().join("state")).unwrap();
    let mut cluster = LocalClusterState::load(&state);
    let both = folder(&Folder::default(), &[("alice", "k")]);
    cluster.update(&state, None, &both).unwrap();
    let alice = key_of(&cluster, "alice").unwrap();

    let before = both;
    let both = folder(&before, &[("alice", "k"), ("bot", "k")]);
    cluster.update(&state, Some(&before), &both).unwrap();
    assert_eq!((key_of(&cluster, "alice"), key_of(&cluster, "bot")), (Some(alice.clone()), None), "alice still has it");

    let bot_alone = folder(&both, &[("bot", "k")]);
    cluster.update(&state, Some(&both), &bot_alone).unwrap();
    let bot = key_of(&cluster, "bot").unwrap();
    assert_ne!(bot, alice);

    let renamed = folder(&bot_alone, &[("robot", "k")]);
    cluster.update(&state, Some(&bot_alone), &renamed).unwrap();
    let robot = key_of(&cluster, "robot").unwrap();
    assert_ne!(robot, bot);
    drop(cluster);

    let mut next = LocalClusterState::load(&state);
    next.update(&state, None, &renamed).unwrap();
    assert_eq!(key_of(&next, "robot").unwrap(), robot, "a key outlives a run");
    let mut renamed_meanwhile = LocalClusterState::load(&state);
    renamed_meanwhile.update(&state, None, &folder(&Folder::default(), &[("alice", "k")])).unwrap();
    assert_ne!(key_of(&renamed_meanwhile, "alice").unwrap(), robot);
}

/// The folder with one client, whose manifest has this annotation and this field of its key, after this one. It has a mistake if there
/// is one before.
fn asking(before: Option<&Folder>, annotations: &str, more: &str) -> Folder {
    let text = format!(
        "{{apiVersion: portcullis.dev/v1alpha1, kind: McpClient,
          metadata: {{name: alice, namespace: sales, annotations: {{{annotations}}}}},
          spec: {{access: [], credentials: {{apiKey: {{secretName: k{more}}}}}}}}}"
    );
    let files = Files::from([("alice.yaml".into(), Ok(text.into_bytes()))]);
    let (folder, problems) = before.unwrap_or(&Folder::default()).update(&files);
    assert_eq!(problems.is_empty(), before.is_none(), "{problems:?}");
    folder
}

#[test]
fn a_key_is_replaced_once_by_each_of_the_ways_to_revoke_it() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path().join("state")).unwrap();
    let mut cluster = LocalClusterState::load(&state);
    let plain = asking(None, "", "");
    cluster.update(&state, None, &plain).unwrap();
    let mut before = plain.clone();
    for (what, next) in [
        ("new-key", asking(None, "portcullis.dev/new-key: '1'", "")),
        ("another value", asking(None, "portcullis.dev/new-key: '2'", "")),
        (
            "beside an unknown field",
            asking(Some(&asking(None, "", "")), "portcullis.dev/new-key: '3'", "}, unknown: {a: b"),
        ),
        ("beside a broken part", asking(Some(&plain), "portcullis.dev/new-key: '4'", "}, a: 1, a: {b: c")),
        ("that is no text", asking(Some(&plain), "portcullis.dev/new-key: 5", "")),
        ("revokeBefore", asking(None, "portcullis.dev/new-key: '5'", ", revokeBefore: '2999-01-01T00:00:00Z'")),
    ] {
        let old = key_of(&cluster, "alice");
        cluster.update(&state, Some(&before), &next).unwrap();
        let new = key_of(&cluster, "alice");
        assert_ne!(new, old, "{what}");
        cluster.update(&state, Some(&next), &next).unwrap();
        assert_eq!(key_of(&cluster, "alice"), new, "{what}: once");
        let mut restarted = LocalClusterState::load(&state);
        restarted.update(&state, None, &next).unwrap();
        assert_eq!(key_of(&restarted, "alice"), new, "{what}: once, also after a restart");
        before = next;
    }

    let (file, old) = (key_file(&cluster, "alice").unwrap(), key_of(&cluster, "alice"));
    assert!(!cluster.is_due());
    for spoil in [|file: &std::path::Path| fs::remove_file(file), |file: &std::path::Path| fs::write(file, "chosen")] {
        spoil(&file).unwrap();
        assert!(cluster.is_due());
        cluster.update(&state, Some(&before), &before).unwrap();
        assert!(!cluster.is_due());
        assert_ne!(key_of(&cluster, "alice"), old);
    }
    fs::write(&file, old.clone().unwrap()).unwrap();
    cluster.update(&state, Some(&before), &before).unwrap();
    assert_ne!(key_of(&cluster, "alice"), old, "a revoked key that somebody puts back");
}

/// A line that has lost its indentation moves a client to another namespace, or its Secret out of its credentials.
#[test]
fn while_something_is_refused_no_key_is_deleted() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path().join("state")).unwrap();
    let right = "apiVersion: portcullis.dev/v1alpha1\nkind: McpClient\nmetadata:\n  name: alice\n  namespace: sales\nspec:\n  \
                 access: []\n  credentials:\n    apiKey:\n      secretName: k\n";
    let read = |before: &Folder, text: &str| {
        before.update(&Files::from([("alice.yaml".into(), Ok(text.as_bytes().to_vec()))])).0
    };
    for (line, moved) in [("  namespace: sales", "namespace: sales"), ("      secretName: k", "  secretName: k")] {
        let mut cluster = LocalClusterState { grace: Duration::ZERO, ..LocalClusterState::load(&state) };
        let folder = read(&Folder::default(), right);
        cluster.update(&state, None, &folder).unwrap();
        let (file, key) = (key_file(&cluster, "alice").unwrap(), key_of(&cluster, "alice"));
        let mistaken = read(&folder, &right.replace(line, moved));
        cluster.update(&state, Some(&folder), &mistaken).unwrap();
        cluster.update(&state, Some(&mistaken), &mistaken).unwrap();
        cluster.forget_left_over(&state, &mistaken).unwrap();
        assert!(file.exists() && !cluster.is_due(), "{moved}");
        let mended = read(&mistaken, right);
        cluster.update(&state, Some(&mistaken), &mended).unwrap();
        assert_eq!(key_of(&cluster, "alice"), key, "{moved}");
    }
}

#[test]
fn a_client_that_comes_back_soon_has_its_key_and_one_that_comes_back_later_has_another() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path().join("state")).unwrap();
    let (with, without) = (folder(&Folder::default(), &[("alice", "k")]), Folder::default());
    for (grace, is_kept) in [(GRACE, true), (Duration::ZERO, false)] {
        let mut cluster = LocalClusterState { grace, ..LocalClusterState::load(&state) };
        cluster.update(&state, None, &with).unwrap();
        let (file, key) = (key_file(&cluster, "alice").unwrap(), key_of(&cluster, "alice"));
        cluster.update(&state, Some(&with), &without).unwrap();
        assert_eq!(cluster.client_keys.issued(&name("alice")), [], "its access ends at once");
        assert_eq!((file.exists(), cluster.is_due()), (is_kept, false));
        cluster.update(&state, Some(&without), &with).unwrap();
        assert_eq!(key_of(&cluster, "alice") == key, is_kept);
    }
}

#[test]
fn what_an_earlier_run_left_is_deleted_only_once_a_start_has_succeeded() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path().join("state")).unwrap();
    let mut first = LocalClusterState::load(&state);
    first.update(&state, None, &folder(&Folder::default(), &[("alice", "k")])).unwrap();
    let (file, key) = (key_file(&first, "alice").unwrap(), key_of(&first, "alice"));

    let empty = Folder::default();
    let mut wrong = LocalClusterState::load(&state);
    wrong.update(&state, None, &empty).unwrap();
    let mut again = LocalClusterState::load(&state);
    again.update(&state, None, &folder(&empty, &[("alice", "k")])).unwrap();
    assert_eq!(key_of(&again, "alice"), key, "a start that failed deleted nothing");

    wrong.forget_left_over(&state, &empty).unwrap();
    assert!(!file.exists() && !file.with_extension("owner").exists());
}

#[test]
fn a_key_that_cannot_be_written_holds_up_no_other_and_is_created_by_the_next_update() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path().join("state")).unwrap();
    let mut cluster = LocalClusterState::load(&state);
    let in_the_way = state.keys().join("sales/a.key");
    fs::create_dir_all(&in_the_way).unwrap();
    let both = folder(&Folder::default(), &[("alice", "a"), ("bot", "b")]);
    assert!(cluster.update(&state, None, &both).is_err());
    assert!(key_of(&cluster, "alice").is_none() && key_of(&cluster, "bot").is_some());

    fs::remove_dir(&in_the_way).unwrap();
    cluster.update(&state, Some(&both), &both).unwrap();
    assert!(key_of(&cluster, "alice").is_some());
}

#[test]
fn a_key_that_cannot_be_read_for_a_while_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let state = State::open(root.path().join("state")).unwrap();
    let mut cluster = LocalClusterState::load(&state);
    cluster.grace = Duration::ZERO;
    let alice = folder(&Folder::default(), &[("alice", "k")]);
    cluster.update(&state, None, &alice).unwrap();
    let key = key_of(&cluster, "alice").unwrap();

    // A folder cannot be read as a file, whoever runs this.
    let issued = key_file(&cluster, "alice").unwrap().with_extension("issued");
    let content = fs::read(&issued).unwrap();
    fs::remove_file(&issued).unwrap();
    fs::create_dir(&issued).unwrap();
    for _ in 0..2 {
        cluster.update(&state, Some(&alice), &alice).unwrap_err();
    }
    let mut next = LocalClusterState::load(&state);
    next.update(&state, None, &alice).unwrap_err();
    next.forget_left_over(&state, &alice).unwrap();
    fs::remove_dir(&issued).unwrap();
    fs::write(&issued, content).unwrap();
    for mut cluster in [cluster, next] {
        cluster.update(&state, Some(&alice), &alice).unwrap();
        assert_eq!(key_of(&cluster, "alice"), Some(key.clone()));
    }
}
