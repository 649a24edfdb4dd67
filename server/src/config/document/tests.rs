//! When a file counts, and what stays in force meanwhile.

use super::*;

/// A number; one above 9 is accepted with a finding.
fn number(text: &str) -> Result<(u32, Findings), Findings> {
    let number = text.trim().parse().map_err(|_| Findings::from(Finding::new("", "is not a number")))?;
    let mut findings = Findings::default();
    if number > 9 {
        findings.add("n", "is too large");
    }
    Ok((number, findings))
}

impl Sealed for u32 {
    /// Even numbers are.
    fn is_sealed(&self) -> bool {
        self.is_multiple_of(2)
    }
}

fn at_once() -> (Instant, Duration) {
    (Instant::now(), Duration::ZERO)
}

fn refused(field: &str, message: &str) -> Option<Refused> {
    Some(Refused { field: field.into(), message: message.into() })
}

const NOTHING: Change = Change { is_loaded: false, refused: None };
const LOADED: Change = Change { is_loaded: true, refused: None };

#[test]
fn the_last_valid_document_stays_in_force_if_the_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("n");
    let mut document = Document::default();
    assert!(document.reload(&path, at_once(), number).refused.is_some(), "missing");
    assert_eq!(document.reload(&path, at_once(), number), NOTHING, "a missing file is reported once");
    std::fs::write(&path, "1").unwrap();
    assert_eq!(document.reload(&path, at_once(), number), LOADED);
    assert_eq!(document.reload(&path, at_once(), number), NOTHING);
    std::fs::write(&path, "x").unwrap();
    assert_eq!(
        document.reload(&path, at_once(), number),
        Change { is_loaded: false, refused: refused("", "is not a number") }
    );
    assert_eq!(document.reload(&path, at_once(), number), NOTHING);
    assert_eq!((document.valid().map(|n| **n), document.is_refused()), (Some(1), true));
    std::fs::remove_file(&path).unwrap();
    assert!(document.reload(&path, at_once(), number).refused.is_some());
    assert_eq!(document.valid().map(|n| **n), Some(1));
    std::fs::write(&path, "1").unwrap();
    assert_eq!((document.reload(&path, at_once(), number), document.is_refused()), (LOADED, false));
}

#[test]
fn a_document_of_which_a_part_is_refused_is_in_force_without_that_part() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("n");
    let mut document = Document::default();
    std::fs::write(&path, "10").unwrap();
    assert_eq!(
        document.reload(&path, at_once(), number),
        Change { is_loaded: true, refused: refused("n", "n: is too large") }
    );
    assert_eq!((document.valid().map(|n| **n), document.is_refused()), (Some(10), true));
    std::fs::write(&path, "9").unwrap();
    assert_eq!((document.reload(&path, at_once(), number), document.is_refused()), (LOADED, false));
}

#[test]
fn a_document_that_is_not_sealed_counts_once_its_file_stayed_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("n");
    let began = Instant::now();
    let mut document = Document::default();
    let mut look = |ms: u64, text: &str| {
        if !text.is_empty() {
            std::fs::write(&path, text).unwrap();
            // Whatever the resolution of the file system's clock is, each write has a time of its own.
            let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        let change = document.reload(&path, (began + Duration::from_millis(ms), SETTLED_AFTER), number);
        (change, document.valid().map(|n| **n), document.is_unsettled())
    };
    assert_eq!(look(0, "8"), (LOADED, Some(8), false), "it is sealed");
    // A number that is written digit by digit. Its beginnings are valid, and so are two that are not.
    assert_eq!(look(10, "1"), (NOTHING, Some(8), true));
    assert_eq!(look(100, ""), (NOTHING, Some(8), true));
    assert_eq!(look(150, "x"), (NOTHING, Some(8), true), "what is half written is not reported");
    assert_eq!(look(300, "3"), (NOTHING, Some(8), true));
    assert_eq!(look(499, ""), (NOTHING, Some(8), true));
    assert_eq!(look(500, ""), (LOADED, Some(3), false));
    assert_eq!(look(510, ""), (NOTHING, Some(3), false));
    // The same bytes written again: it may be the beginning of another edit.
    assert_eq!(look(600, "5"), (NOTHING, Some(3), true));
    assert_eq!(look(790, "5"), (NOTHING, Some(3), true));
    assert_eq!(look(800, ""), (NOTHING, Some(3), true));
    assert_eq!(look(990, ""), (LOADED, Some(5), false));
    // An edit that is undone.
    assert_eq!(look(1_000, "7"), (NOTHING, Some(5), true));
    assert_eq!(look(1_100, "5"), (NOTHING, Some(5), false));
    // One that is sealed does not wait for one that is not.
    assert_eq!(look(1_200, "7"), (NOTHING, Some(5), true));
    assert_eq!(look(1_210, "6"), (LOADED, Some(6), false));
    // An error is reported once it stayed.
    assert_eq!(look(2_000, "x"), (NOTHING, Some(6), true));
    let (change, valid, is_unsettled) = look(2_200, "");
    assert_eq!((change.refused, valid, is_unsettled), (refused("", "is not a number"), Some(6), false));
}

#[test]
fn a_file_that_is_written_all_the_time_counts_if_it_stays_the_same_and_is_reported_if_it_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("n");
    let began = Instant::now();
    let mut document = Document::default();
    let look = |document: &mut Document<u32>, ms: u64, text: &str| {
        std::fs::write(&path, text).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        document.reload(&path, (began + Duration::from_millis(ms), SETTLED_AFTER), number)
    };
    let changes: Vec<_> = (0..=20).map(|n| look(&mut document, n * 100, "7")).collect();
    assert_eq!((changes[19].clone(), changes[20].clone()), (NOTHING, LOADED));
    let texts = ["1", "3"].into_iter().cycle();
    let changes: Vec<_> = (30..100).zip(texts).map(|(n, text)| look(&mut document, n * 100, text)).collect();
    let reported: Vec<_> = changes.iter().flat_map(|change| &change.refused).collect();
    assert_eq!((reported.len(), changes.iter().any(|change| change.is_loaded)), (1, false));
    assert!(reported[0].message.starts_with("the file keeps changing"), "{reported:?}");
    assert!(document.is_refused());
    assert_eq!(look(&mut document, 10_000, "7"), NOTHING);
    assert!(!document.is_refused(), "all of it was undone");
}

#[test]
fn only_a_regular_file_within_the_bound_is_read_and_nothing_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    std::fs::File::create(at("huge")).unwrap().set_len(1 << 40).unwrap();
    for (name, message) in [
        ("pipe", "the file cannot be read: it is not a regular file"),
        ("endless", "the file cannot be read: it is not a regular file"),
        ("directory", "the file cannot be read: it is not a regular file"),
        ("huge", "the file cannot be read: it is larger than 4 MiB"),
    ] {
        let change = Change { is_loaded: false, refused: refused("", message) };
        assert_eq!(Document::default().reload(&at(name), at_once(), number), change, "{name}");
    }
}
