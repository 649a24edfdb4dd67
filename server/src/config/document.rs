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

/// Why a file was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The path of the first field that is wrong; empty where it is the file as a whole.
    pub field: String,
    /// All that is wrong, for people.
    pub message: String,
}

/// What a look at a file brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    Loaded,
    /// The last good document stays in force.
    Refused(Refused),
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

    /// Looks at the file. The same bytes are not parsed again, good or bad.
    pub fn look(&mut self, path: &Path, parse: impl FnOnce(&str) -> Result<T, Findings>) -> Change {
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let was_seen = self.seen.take().is_some();
                let refused = Refused { field: String::new(), message: error.to_string() };
                let is_news = was_seen || self.refused.as_ref() != Some(&refused);
                self.refused = Some(refused.clone());
                return if is_news { Change::Refused(refused) } else { Change::None };
            }
        };
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if self.seen == Some(digest) {
            return Change::None;
        }
        self.seen = Some(digest);
        let parsed = match std::str::from_utf8(&bytes) {
            Ok(text) => parse(text),
            Err(_) => Err(Finding::new("", "is no UTF-8 text").into()),
        };
        match parsed {
            Ok(document) => {
                self.good = Some(Arc::new(document));
                self.refused = None;
                Change::Loaded
            }
            Err(findings) => self.refuse(&findings),
        }
    }

    /// Refuses a document that parsed, and goes back to `before`.
    pub fn take_back(&mut self, before: Option<Arc<T>>, findings: &Findings) -> Change {
        self.good = before;
        self.refuse(findings)
    }

    fn refuse(&mut self, findings: &Findings) -> Change {
        let field = findings.0.first().map_or_else(String::new, |finding| finding.path.clone());
        let refused = Refused { field, message: findings.to_string() };
        self.refused = Some(refused.clone());
        Change::Refused(refused)
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("the file is not there")]
    Missing,
    #[error("the file cannot be read: it is no regular file")]
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

    fn number(text: &str) -> Result<u32, Findings> {
        text.trim().parse().map_err(|_| Finding::new("", "is no number").into())
    }

    #[test]
    fn a_refused_file_leaves_the_last_good_one_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n");
        let mut document = Document::default();
        assert!(matches!(document.look(&path, number), Change::Refused(_)), "missing");
        assert_eq!(document.look(&path, number), Change::None, "missing is said once");
        std::fs::write(&path, "1").unwrap();
        assert_eq!(document.look(&path, number), Change::Loaded);
        assert_eq!(document.look(&path, number), Change::None);
        std::fs::write(&path, "x").unwrap();
        let refused = Refused { field: String::new(), message: "is no number".into() };
        assert_eq!(document.look(&path, number), Change::Refused(refused));
        assert_eq!(document.look(&path, number), Change::None);
        assert_eq!((document.good().map(|n| **n), document.is_refused()), (Some(1), true));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(document.look(&path, number), Change::Refused(_)));
        assert_eq!(document.good().map(|n| **n), Some(1));
        std::fs::write(&path, "1").unwrap();
        assert_eq!((document.look(&path, number), document.is_refused()), (Change::Loaded, false));
    }

    #[test]
    fn what_is_no_file_of_a_few_mib_is_refused_without_being_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        std::fs::File::create(at("huge")).unwrap().set_len(1 << 40).unwrap();
        for (name, message) in [
            ("pipe", "the file cannot be read: it is no regular file"),
            ("endless", "the file cannot be read: it is no regular file"),
            ("directory", "the file cannot be read: it is no regular file"),
            ("huge", "the file cannot be read: it is larger than 4 MiB"),
        ] {
            let refused = Refused { field: String::new(), message: message.into() };
            assert_eq!(Document::default().look(&at(name), number), Change::Refused(refused), "{name}");
        }
    }
}
