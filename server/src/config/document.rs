//! A file, and the last valid document that it contained.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use portcullis_crds::{Finding, Findings};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

/// The most MiB of a document. An object in a cluster is smaller than 2 MiB.
const MAX_MIB: u64 = 4;

/// A document: the valid one that is in force, and what is refused in the file.
#[derive(Debug)]
pub struct Document<T> {
    valid: Option<Arc<T>>,
    refused: Option<Refused>,
    /// The digest of the bytes that were read last; `None` if the file could not be read.
    read: Option<[u8; 32]>,
}

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
        Self { valid: None, refused: None, read: None }
    }
}

impl<T> Document<T> {
    /// The last valid document.
    pub fn valid(&self) -> Option<&Arc<T>> {
        self.valid.as_ref()
    }

    /// Whether the file, or a part of it, is refused.
    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Reads the file. The same bytes are not parsed again, whether they were accepted or refused. `parse` returns the document
    /// together with the parts of it that it refuses.
    pub fn reload(&mut self, path: &Path, parse: impl FnOnce(&str) -> Result<(T, Findings), Findings>) -> Change {
        let bytes = match read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let was_readable = self.read.take().is_some();
                let refused = Refused { field: String::new(), message: error.to_string() };
                let is_new = was_readable || self.refused.as_ref() != Some(&refused);
                self.refused = Some(refused.clone());
                return Change { is_loaded: false, refused: is_new.then_some(refused) };
            }
        };
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        if self.read == Some(digest) {
            return Change::default();
        }
        self.read = Some(digest);
        let parsed = match std::str::from_utf8(&bytes) {
            Ok(text) => parse(text),
            Err(_) => Err(Finding::new("", "is not UTF-8 text").into()),
        };
        match parsed {
            Ok((document, refused)) => {
                self.valid = Some(Arc::new(document));
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

/// Reads the whole file. Never waits, and stops at the bound, whatever is at the path.
fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
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
    if bytes.len() as u64 > most { Err(Unreadable::TooLarge) } else { Ok(bytes) }
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
        assert!(document.reload(&path, number).refused.is_some(), "missing");
        assert_eq!(document.reload(&path, number), NOTHING, "a missing file is reported once");
        std::fs::write(&path, "1").unwrap();
        assert_eq!(document.reload(&path, number), LOADED);
        assert_eq!(document.reload(&path, number), NOTHING);
        std::fs::write(&path, "x").unwrap();
        assert_eq!(
            document.reload(&path, number),
            Change { is_loaded: false, refused: refused("", "is not a number") }
        );
        assert_eq!(document.reload(&path, number), NOTHING);
        assert_eq!((document.valid().map(|n| **n), document.is_refused()), (Some(1), true));
        std::fs::remove_file(&path).unwrap();
        assert!(document.reload(&path, number).refused.is_some());
        assert_eq!(document.valid().map(|n| **n), Some(1));
        std::fs::write(&path, "1").unwrap();
        assert_eq!((document.reload(&path, number), document.is_refused()), (LOADED, false));
    }

    #[test]
    fn a_document_of_which_a_part_is_refused_is_in_force_without_that_part() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n");
        let mut document = Document::default();
        std::fs::write(&path, "10").unwrap();
        assert_eq!(
            document.reload(&path, number),
            Change { is_loaded: true, refused: refused("n", "n: is too large") }
        );
        assert_eq!((document.valid().map(|n| **n), document.is_refused()), (Some(10), true));
        std::fs::write(&path, "9").unwrap();
        assert_eq!((document.reload(&path, number), document.is_refused()), (LOADED, false));
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
            assert_eq!(Document::default().reload(&at(name), number), change, "{name}");
        }
    }
}
