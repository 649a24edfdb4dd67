//! Files that cannot be read as a whole, and halves that are changed after they were read.

use portcullis_crds::contract::BackendKind;

use super::*;

/// Bytes that are not UTF-8, and what is nested too deeply, hold their own document only.
#[test]
fn a_document_that_is_no_text_or_too_deep_holds_itself_and_names_its_object_and_its_line() {
    let two = [client("a", ""), client("b", "")].concat();
    let (good, _) = Folder::default().update(&files(&[("all.yaml", &two)]));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (broken, expected) in [
        (
            client("a", "suspended: true # caf\u{e9}"),
            "all.yaml:9:24: McpClient sales/a: is not UTF-8; save the file in this encoding",
        ),
        (
            client("a", &format!("suspended: true\n  later: {deep}")),
            "all.yaml:10:136: McpClient sales/a: spec.later: is nested more than 128 levels deep, which cannot be read; make it \
             flatter, such as by moving a part to the level above",
        ),
    ] {
        // Latin-1, in which each of these characters is one byte.
        let bytes: Vec<u8> = broken.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let all = [bytes, client("b", "suspended: true").into_bytes()].concat();
        let (next, problems) = good.update(&Files::from([("all.yaml".to_owned(), Ok(all))]));
        assert_eq!(lines(&problems), expected);
        assert_eq!(names(&next), names(&good));
        let b = NamespacedName::new("sales", "b");
        assert!(next.clients().any(|(name, client)| *name == b && client.spec.suspended));
        assert!(next.mistaken_client(&NamespacedName::new("sales", "a")).unwrap().partial.suspended);
    }
}

/// A file that is being written ends anywhere.
#[test]
fn a_file_that_is_cut_off_removes_nothing() {
    let all = [client("a", ""), client("b", ""), SERVER.replacen('\n', "\n---\n", 1)].concat();
    let (good, _) = Folder::default().update(&files(&[("all.yaml", &all)]));
    let cut = &all[..all.find("serverRef").unwrap()];
    let (next, problems) = good.update(&files(&[("all.yaml", cut)]));
    assert_eq!(names(&next), names(&good), "{}", lines(&problems));
    assert!(next.has_broken_file());
}

#[test]
fn what_replaces_the_url_of_a_backend_is_checked_like_the_manifest() {
    let http = SERVER
        .replace("{name: fixed, static: {}}", "{name: fixed, http: {url: 'http://crm.example'}}")
        .replace("static: {text: hi}", "http: {method: GET, path: /}");
    let (folder, problems) = Folder::default().update(&files(&[("server.yaml", &http)]));
    assert_eq!(lines(&problems), "");
    for (url, problem) in [
        ("http://127.0.0.1:8080".to_owned(), String::new()),
        (
            "http://a:99999".to_owned(),
            "server.yaml: McpServer sales/crm: spec.backends[0].http.url: the port must be a number from 1 to 65535"
                .into(),
        ),
    ] {
        let review = review(&folder, &NoCluster::default(), |half| {
            if let BackendKind::Http(http) = &mut half.spec.backends[0].kind {
                http.url.clone_from(&url);
            }
        });
        assert_eq!(lines(&review.problems), problem, "{url}");
    }
}
