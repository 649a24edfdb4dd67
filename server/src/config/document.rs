//! A file, and the last valid document that it contained.
//!
//! A document that states its revision is complete, and counts at once. One without may be half written: an editor that writes in
//! place, or a program that writes slowly, leaves a beginning of it for a moment, which may lack a restriction. It counts once the
//! file was the same for a while.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_crds::{Finding, Findings};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

/// The most MiB of a document. An object in a cluster is smaller than 2 MiB.
const MAX_MIB: u64 = 4;

/// For how long a file must stay the same if its document does not state its revision.
pub const SETTLED_AFTER: Duration = Duration::from_millis(200);
/// A file whose bytes stay the same while it is written again and again counts after this time.
const REWRITTEN_FOR: Duration = Duration::from_secs(2);
/// After how long a file that keeps changing is reported.
const RESTLESS_AFTER: Duration = Duration::from_secs(5);

/// A document that may show that it is complete.
pub trait Sealed {
    /// Whether it states its revision, which was verified.
    fn is_sealed(&self) -> bool;
}

/// A document: the valid one that is in force, and what is refused in the file.
#[derive(Debug)]
pub struct Document<T> {
    valid: Option<Arc<T>>,
    is_complete: bool,
    refused: Option<Refused>,
    /// The digest of the bytes that were read last; `None` if the file could not be read.
    read: Option<[u8; 32]>,
    /// What the file contained at the last look, if that does not count yet.
    unsettled: Option<Unsettled<T>>,
}

type Parsed<T> = Result<(T, Findings), Findings>;

/// A document that counts if the file stays as it is.
#[derive(Debug)]
struct Unsettled<T> {
    contents: Contents,
    parsed: Parsed<T>,
    /// Since when the file was not written.
    unwritten_since: Instant,
    /// Since when its bytes are the same.
    same_since: Instant,
    /// Since when there is something that does not count.
    restless_since: Instant,
}

/// What a look at a file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Contents {
    digest: [u8; 32],
    /// What changes when the file is written.
    written: Written,
}

/// The inode of a file, and its modification time in seconds and nanoseconds.
type Written = (u64, i64, i64);

/// Why a document, or a part of it, was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The path of the first field that is wrong; empty if it is the file as a whole.
    pub field: String,
    /// Everything that is wrong, for people.
    pub message: String,
}

impl Refused {
    fn of(findings: &Findings) -> Option<Self> {
        let first = findings.0.first()?;
        Some(Self { field: first.path.clone(), message: findings.to_string() })
    }
}

/// The result of reading a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Whether a new document is in force.
    pub is_loaded: bool,
    /// Set if something was refused: the whole document (then the last valid one stays in force), or parts of the one that was
    /// loaded.
    pub refused: Option<Refused>,
}

impl<T> Default for Document<T> {
    fn default() -> Self {
        Self { valid: None, is_complete: false, refused: None, read: None, unsettled: None }
    }
}

impl<T> Document<T> {
    /// The last valid document.
    pub fn valid(&self) -> Option<&Arc<T>> {
        self.valid.as_ref()
    }

    /// Whether all of the last valid document is in force: nothing of it was refused.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether the file, or a part of it, is refused.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Forgets which bytes were read, so that they are parsed again.
    pub fn forget_read(&mut self) {
        self.read = None;
        self.unsettled = None;
    }

    /// Whether the file contains something that does not count yet: it is to be read again after [`SETTLED_AFTER`].
    pub fn is_unsettled(&self) -> bool {
        self.unsettled.is_some()
    }
}

impl<T: Sealed> Document<T> {
    /// Reads the file. The same bytes are not parsed again, whether they were accepted or refused. `parse` returns the document
    /// together with the parts of it that it refuses. A document that is not sealed counts after the file was the same for
    /// `settled_after`.
    pub fn reload(
        &mut self,
        path: &Path,
        (now, settled_after): (Instant, Duration),
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Change {
        let (bytes, written) = match read(path) {
            Ok(read) => read,
            Err(error) => {
                let was_readable = self.read.take().is_some();
                self.unsettled = None;
                return self.refuse(&error.to_string(), was_readable);
            }
        };
        let contents = Contents { digest: Sha256::digest(&bytes).into(), written };
        if self.read == Some(contents.digest) {
            self.unsettled = None;
            return Change::default();
        }
        let before = self.unsettled.take();
        let restless_since = before.as_ref().map_or(now, |before| before.restless_since);
        let unsettled = match before {
            Some(before) if before.contents.digest == contents.digest => {
                let unwritten_since = if before.contents == contents { before.unwritten_since } else { now };
                Unsettled { contents, unwritten_since, ..before }
            }
            _ => {
                let parsed = match std::str::from_utf8(&bytes) {
                    Ok(text) => parse(text),
                    Err(_) => Err(Finding::new("", "is not UTF-8 text").into()),
                };
                Unsettled { contents, parsed, unwritten_since: now, same_since: now, restless_since }
            }
        };
        let is_sealed = matches!(&unsettled.parsed, Ok((document, _)) if document.is_sealed());
        let is_settled =
            now - unsettled.unwritten_since >= settled_after || now - unsettled.same_since >= REWRITTEN_FOR;
        if is_sealed || is_settled {
            self.read = Some(contents.digest);
            return self.take_up(unsettled.parsed);
        }
        self.unsettled = Some(unsettled);
        if now - restless_since < RESTLESS_AFTER {
            return Change::default();
        }
        let message = format!(
            "the file keeps changing; a document without a revision counts once it stays the same for {} ms",
            settled_after.as_millis()
        );
        self.refuse(&message, false)
    }

    /// Refuses the file as a whole. The same refusal is reported once.
    fn refuse(&mut self, message: &str, is_new: bool) -> Change {
        let refused = Refused { field: String::new(), message: message.to_owned() };
        let is_new = is_new || self.refused.as_ref() != Some(&refused);
        self.refused = Some(refused.clone());
        Change { is_loaded: false, refused: is_new.then_some(refused) }
    }

    fn take_up(&mut self, parsed: Parsed<T>) -> Change {
        match parsed {
            Ok((document, refused)) => {
                self.valid = Some(Arc::new(document));
                self.is_complete = refused.is_empty();
                self.refused = Refused::of(&refused);
                Change { is_loaded: true, refused: self.refused.clone() }
            }
            Err(findings) => {
                self.refused = Refused::of(&findings);
                Change { is_loaded: false, refused: self.refused.clone() }
            }
        }
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("the file does not exist")]
    Missing,
    #[error("the file cannot be read: it is not a regular file")]
    Irregular,
    #[error("the file cannot be read: it is larger than {MAX_MIB} MiB")]
    TooLarge,
    #[error("the file cannot be read: {0}")]
    Io(io::ErrorKind),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            kind => Self::Io(kind),
        }
    }
}

/// Reads the whole file, and when it was written. Never waits, and stops at the bound, whatever is at the path.
fn read(path: &Path) -> Result<(Vec<u8>, Written), Unreadable> {
    // Without NONBLOCK, opening a pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    let most = MAX_MIB * 1024 * 1024;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Unreadable::Irregular);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(most)).unwrap_or(0));
    // The file may grow meanwhile.
    file.take(most + 1).read_to_end(&mut bytes)?;
    let written = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
    if bytes.len() as u64 > most { Err(Unreadable::TooLarge) } else { Ok((bytes, written)) }
}

#[cfg(test)]
mod tests {
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
        let mut look = |ms: u64, text: &str| {
            std::fs::write(&path, text).unwrap();
            let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            document.reload(&path, (began + Duration::from_millis(ms), SETTLED_AFTER), number)
        };
        let changes: Vec<_> = (0..=20).map(|n| look(n * 100, "7")).collect();
        assert_eq!((changes[19].clone(), changes[20].clone()), (NOTHING, LOADED));
        let texts = ["1", "3"].into_iter().cycle();
        let changes: Vec<_> = (30..100).zip(texts).map(|(n, text)| look(n * 100, text)).collect();
        let reported: Vec<_> = changes.iter().flat_map(|change| &change.refused).collect();
        assert_eq!((reported.len(), changes.iter().any(|change| change.is_loaded)), (1, false));
        assert!(reported[0].message.starts_with("the file keeps changing"), "{reported:?}");
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
}
