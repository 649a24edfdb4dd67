//! One file, and the last good state of it.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use portcullis_crds::{Finding, Findings};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

/// MiB of a document. What a cluster keeps in one object is below 2 MiB.
const MAX_MIB: u64 = 4;

/// A document: what is in force, and whether the file says something else that cannot be.
#[derive(Debug)]
pub struct Document<T> {
    good: Option<Arc<T>>,
    refused: Option<Refused>,
    /// The digest of what was looked at last; `None` where the file could not be read.
    seen: Option<[u8; 32]>,
}

/// Why a document, or a part of it, was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The path of the first field that is wrong; empty where it is the file as a whole.
    pub field: String,
    /// All that is wrong, for people.
    pub message: String,
}

impl Refused {
    fn of(findings: &Findings) -> Option<Self> {
        let first = findings.0.first()?;
        Some(Self { field: first.path.clone(), message: findings.to_string() })
    }
}

/// What a look at a file brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Whether another document is in force.
    pub is_loaded: bool,
    /// Set if something was refused: the whole document, and then the last good one stays in force, or parts of the one that was
    /// loaded.
    pub refused: Option<Refused>,
}

impl<T> Default for Document<T> {
    fn default() -> Self {
        Self { good: None, refused: None, seen: None }
    }
}

impl<T> Document<T> {
    /// The last good document.
    pub fn good(&self) -> Option<&Arc<T>> {
        self.good.as_ref()
    }

    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Reads the file. The same bytes are not parsed again, whether they were accepted or refused. `parse` returns the document
    /// together with what it refuses in it.
    pub fn look(&mut self, path: &Path, parse: impl FnOnce(&str) -> Result<(T, Findings), Findings>) -> Change {
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let was_seen = self.seen.take().is_some();
                let refused = Refused { field: String::new(), message: error.to_string() };
                let is_news = was_seen || self.refused.as_ref() != Some(&refused);
                self.refused = Some(refused.clone());
                return Change { is_loaded: false, refused: is_news.then_some(refused) };
            }
        };
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if self.seen == Some(digest) {
            return Change::default();
        }
        self.seen = Some(digest);
        let parsed = match std::str::from_utf8(&bytes) {
            Ok(text) => parse(text),
            Err(_) => Err(Finding::new("", "is not UTF-8 text").into()),
        };
        match parsed {
            Ok((document, refused)) => {
                self.good = Some(Arc::new(document));
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

/// The whole file. Whatever stands in its place, it is neither waited for nor read without end.
fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    // A pipe that nobody writes to would be waited for as it is opened.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    let most = MAX_MIB * 1024 * 1024;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(Unreadable::Irregular);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len().min(most)).unwrap_or(0));
    // It may grow meanwhile.
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(Unreadable::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number; one above 9 is taken with a finding.
    fn number(text: &str) -> Result<(u32, Findings), Findings> {
        let number = text.trim().parse().map_err(|_| Findings::from(Finding::new("", "is not a number")))?;
        let mut findings = Findings::default();
        if number > 9 {
            findings.add("n", "is too large");
        }
        Ok((number, findings))
    }

    fn refused(field: &str, message: &str) -> Option<Refused> {
        Some(Refused { field: field.into(), message: message.into() })
    }

    const NOTHING: Change = Change { is_loaded: false, refused: None };
    const LOADED: Change = Change { is_loaded: true, refused: None };

    #[test]
    fn a_refused_file_leaves_the_last_good_one_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n");
        let mut document = Document::default();
        assert!(document.look(&path, number).refused.is_some(), "missing");
        assert_eq!(document.look(&path, number), NOTHING, "a missing file is reported once");
        std::fs::write(&path, "1").unwrap();
        assert_eq!(document.look(&path, number), LOADED);
        assert_eq!(document.look(&path, number), NOTHING);
        std::fs::write(&path, "x").unwrap();
        assert_eq!(document.look(&path, number), Change { is_loaded: false, refused: refused("", "is not a number") });
        assert_eq!(document.look(&path, number), NOTHING);
        assert_eq!((document.good().map(|n| **n), document.is_refused()), (Some(1), true));
        std::fs::remove_file(&path).unwrap();
        assert!(document.look(&path, number).refused.is_some());
        assert_eq!(document.good().map(|n| **n), Some(1));
        std::fs::write(&path, "1").unwrap();
        assert_eq!((document.look(&path, number), document.is_refused()), (LOADED, false));
    }

    #[test]
    fn a_file_of_which_a_part_is_refused_is_in_force_without_that_part() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n");
        let mut document = Document::default();
        std::fs::write(&path, "10").unwrap();
        assert_eq!(document.look(&path, number), Change { is_loaded: true, refused: refused("n", "n: is too large") });
        assert_eq!((document.good().map(|n| **n), document.is_refused()), (Some(10), true));
        std::fs::write(&path, "9").unwrap();
        assert_eq!((document.look(&path, number), document.is_refused()), (LOADED, false));
    }

    #[test]
    fn only_a_regular_file_of_a_few_mib_is_read_and_nothing_is_waited_for() {
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
            assert_eq!(Document::default().look(&at(name), number), change, "{name}");
        }
    }
}
