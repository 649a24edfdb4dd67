use super::*;

fn revision(content: &str) -> Revision {
    Revision::of(content).unwrap()
}

fn ids(names: &[&str]) -> BTreeSet<ClientId> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Revisions `a`, `b` and `c`, published at 100, 200 and 300 s; `b` changed `one`, `c` changed `other`.
fn three() -> Changes {
    let (a, b, c) = (revision("a"), revision("b"), revision("c"));
    let first = Changes::default().publish(None, &a, None, at(100));
    let second = first.publish(Some(&a), &b, Some(ids(&["one"])), at(200));
    second.publish(Some(&b), &c, Some(ids(&["other"])), at(300))
}

#[test]
fn a_pod_is_behind_for_those_whose_access_changed_after_what_it_serves_and_since_the_first_such_change() {
    let changes = three();
    for (served, expected) in [
        ("c", (Behind::Nobody, None)),
        ("b", (Behind::Only(ids(&["other"])), Some(at(300)))),
        ("a", (Behind::Only(ids(&["one", "other"])), Some(at(200)))),
        ("unknown", (Behind::Anybody, Some(at(100)))),
    ] {
        assert_eq!(changes.since(Some(revision(served).as_str())), expected, "{served}");
    }
    assert_eq!(changes.since(None).0, Behind::Anybody, "it reports nothing");
    assert_eq!(Changes::default().since(Some(revision("a").as_str())), (Behind::Anybody, None));
}

#[test]
fn what_was_published_before_is_known_again_when_it_is_published_again() {
    let (b, c) = (revision("b"), revision("c"));
    let back = three().publish(Some(&c), &b, Some(ids(&["other"])), at(400));
    assert_eq!(back.since(Some(b.as_str())), (Behind::Nobody, None));
    assert_eq!(back.since(Some(c.as_str())), (Behind::Only(ids(&["other"])), Some(at(400))));
    assert_eq!(back.publish(Some(&c), &b, None, at(500)), back, "it is published already");
}

#[test]
fn a_revision_that_is_published_again_is_in_doubt_until_a_pod_was_seen_to_leave_it_or_has_had_the_time() {
    let (b, c) = (revision("b"), revision("c"));
    let back = three().publish(Some(&c), &b, Some(ids(&["other"])), at(400));
    let seen = |content: &str, second| Some(Left { revision: revision(content).to_string(), seen_at: at(second) });
    let doubt = Some((Behind::Only(ids(&["other"])), at(400)));
    for (what, left, now, expected) in [
        ("never seen with another one", None, 401, doubt.clone()),
        ("seen with one before it", seen("a", 350), 401, doubt.clone()),
        ("seen with what came between, but an earlier time", seen("c", 299), 401, doubt.clone()),
        ("the same, within the second in which that was published", seen("c", 300), 401, doubt.clone()),
        ("seen with an unknown one", seen("x", 350), 401, doubt.clone()),
        ("seen with what came between", seen("c", 301), 401, None),
        ("for long", None, 400 + 91, None),
        ("and the clock was put back", None, 1, None),
    ] {
        assert_eq!(back.doubt(left.as_ref(), at(now)), expected, "{what}");
    }
    assert_eq!(back.doubtful_until(), Some(at(400 + 91)));
    assert_eq!((three().doubtful_until(), three().doubt(None, at(301))), (None, None), "it is new");
    let put_back = three().publish_again(at(900));
    assert_eq!(put_back.doubtful_until(), Some(at(900 + 91)), "what replaced it may still come");
    assert_eq!(put_back.doubt(None, at(901)), None);
    let put_back = back.publish_again(at(410)).publish_again(at(420));
    assert_eq!(
        put_back.doubt(None, at(421)),
        Some((Behind::Anybody, at(420))),
        "what came between may still come, too"
    );
    assert_eq!(put_back.doubt(seen("c", 301).as_ref(), at(421)), None);
    assert_eq!(put_back.0.len(), back.0.len() + 1, "however often it is put back");
}

#[test]
fn a_document_that_somebody_else_replaced_may_be_served_since_it_was_put_back() {
    let again = three().publish_again(at(900));
    assert_eq!(again.since(Some(revision("c").as_str())), (Behind::Nobody, None));
    assert_eq!(again.since(Some(revision("forged").as_str())), (Behind::Anybody, Some(at(900))));
    assert_eq!(again.since(Some(revision("b").as_str())).0, Behind::Anybody);
}

#[test]
fn an_annotation_that_is_lost_or_forged_makes_every_older_revision_unknown() {
    let (c, d) = (revision("c"), revision("d"));
    let time = "2026-01-01T00:00:00Z";
    let of_list = format!(r#"[["{}","{time}",["one"]]]"#, c.short());
    let of_text = format!(r#"[{{"revision":"x","publishedAt":"{time}"}}]"#);
    for lost in [None, Some("[{"), Some("[]"), Some(&*of_text), Some(&*of_list)] {
        let changes = Changes::read(lost).publish(Some(&c), &d, Some(ids(&["one"])), at(400));
        assert_eq!(changes.since(Some(d.as_str())), (Behind::Nobody, None), "{lost:?}");
        assert_eq!(changes.since(Some(c.as_str())), (Behind::Anybody, Some(at(400))), "{lost:?}");
    }
}

#[test]
fn an_annotation_is_read_as_it_was_written_and_has_a_bound() {
    let changes = three();
    assert_eq!(Changes::read(Some(&changes.text())), changes);
    let long = |n: usize| format!("{}/{n:0>61}{}", "n".repeat(63), ".x".repeat(96)).parse::<ClientId>().unwrap();
    let (mut changes, mut before) = (changes, revision("c"));
    for n in 0..40 {
        let (next, clients) = (revision(&n.to_string()), (0..n * 4).map(long).collect());
        changes = changes.publish(Some(&before), &next, Some(clients), at(1000));
        before = next;
        assert!(changes.0.len() <= MAX_REVISIONS && changes.text().len() <= MAX_BYTES, "{n}");
        assert!(changes.is_current(&before), "{n}");
    }
    assert_eq!(changes.0.first().and_then(|change| change.clients.clone()), None, "too many to name");
}

#[test]
fn an_entry_has_changed_if_it_was_added_removed_or_differs() {
    let entry = |id: &str, value: u8| (id.parse::<ClientId>().unwrap(), value);
    let before = [entry("gone", 1), entry("kept", 1), entry("edited", 1)];
    let after = [entry("edited", 2), entry("kept", 1), entry("new", 1)];
    assert_eq!(changed(&before, &after, |entry| &entry.0), ids(&["edited", "gone", "new"]));
}
