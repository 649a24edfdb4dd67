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
    /// Since when there is something that does not count, and whether that was reported because it took long.
    restless: (Instant, bool),
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
        self.refused.is_some() || self.unsettled.as_ref().is_some_and(|unsettled| unsettled.restless.1)
    }

    /// Forgets which bytes were read, so that they are parsed again, and what was refused, so that it is reported again.
    pub fn forget_read(&mut self) {
        self.read = None;
        self.refused = None;
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
        let (restless_since, is_reported) = before.as_ref().map_or((now, false), |before| before.restless);
        let mut unsettled = match before {
            Some(before) if before.contents.digest == contents.digest => {
                let unwritten_since = if before.contents == contents { before.unwritten_since } else { now };
                Unsettled { contents, unwritten_since, ..before }
            }
            _ => {
                let parsed = match std::str::from_utf8(&bytes) {
                    Ok(text) => parse(text),
                    Err(_) => Err(Finding::new("", "is not UTF-8 text").into()),
                };
                Unsettled {
                    contents,
                    parsed,
                    unwritten_since: now,
                    same_since: now,
                    restless: (restless_since, is_reported),
                }
            }
        };
        let is_sealed = matches!(&unsettled.parsed, Ok((document, _)) if document.is_sealed());
        let is_settled =
            now - unsettled.unwritten_since >= settled_after || now - unsettled.same_since >= REWRITTEN_FOR;
        if is_sealed || is_settled {
            self.read = Some(contents.digest);
            return self.take_up(unsettled.parsed);
        }
        unsettled.restless.1 = now - restless_since >= RESTLESS_AFTER;
        let is_to_be_reported = unsettled.restless.1 && !is_reported;
        self.unsettled = Some(unsettled);
        let message = || {
            format!(
                "the file keeps changing; a document without a revision counts once it stays the same for {} ms",
                settled_after.as_millis()
            )
        };
        let refused = is_to_be_reported.then(|| Refused { field: String::new(), message: message() });
        Change { is_loaded: false, refused }
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
mod tests;
