//! The values of Secrets, which are files of a mounted volume: `<name of the Secret>/<key>`.
//!
//! A value that is gone, or that cannot be used, leaves the last one in use: a Secret that is deleted and created again must not
//! stop calls. Values are never printed: their type has no form for it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use portcullis_crds::SecretKeyRef;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroize};

/// The most bytes of a value: what servers commonly accept in all headers together.
const MAX_BYTES: u64 = 16 * 1024;

/// The values of Secrets that are in use. Clones share them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// `None` if this server is given no Secrets.
    directory: Option<PathBuf>,
    /// Those that a backend still uses.
    files: Mutex<BTreeMap<SecretKeyRef, Weak<SecretFile>>>,
}

/// A value of a Secret.
pub struct SecretFile {
    reference: SecretKeyRef,
    value: ArcSwapOption<SecretString>,
    /// Whether the file was there, and had a value that can be used, when it was last read.
    is_current: AtomicBool,
}

impl Secrets {
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self(Arc::new(Shared { directory, files: Mutex::default() }))
    }

    pub(super) fn directory(&self) -> Option<&Path> {
        self.0.directory.as_deref()
    }

    /// The value of a key. It is read now, unless another backend uses it too.
    pub fn file(&self, reference: &SecretKeyRef) -> Arc<SecretFile> {
        let mut files = self.0.files.lock();
        files.retain(|_, file| file.strong_count() > 0);
        if let Some(file) = files.get(reference).and_then(Weak::upgrade) {
            return file;
        }
        let file = SecretFile {
            reference: reference.clone(),
            value: ArcSwapOption::empty(),
            // What is wrong with it is told even if nothing was known before.
            is_current: AtomicBool::new(true),
        };
        let file = Arc::new(file);
        file.read(self.directory());
        files.insert(reference.clone(), Arc::downgrade(&file));
        file
    }

    /// Reads all values again. Blocks while it does.
    pub fn refresh(&self) {
        let files: Vec<_> = self.0.files.lock().values().filter_map(Weak::upgrade).collect();
        for file in files {
            file.read(self.directory());
        }
    }
}

impl SecretFile {
    pub fn reference(&self) -> &SecretKeyRef {
        &self.reference
    }

    /// The last value; `None` if there has not been one.
    pub fn value(&self) -> Option<Arc<SecretString>> {
        self.value.load_full()
    }

    /// Whether the value is the one in the Secret, as far as this server can see.
    pub fn is_current(&self) -> bool {
        self.is_current.load(Relaxed)
    }

    fn read(&self, directory: Option<&Path>) {
        let read = match directory {
            Some(directory) => read(&directory.join(self.reference.file())),
            None => Err("is not mounted"),
        };
        let was_current = self.is_current.swap(read.is_ok(), Relaxed);
        let SecretKeyRef { name, key } = &self.reference;
        match read {
            Ok(value) => {
                let is_same = |last: &Arc<SecretString>| last.expose_secret() == value.expose_secret();
                if !self.value().as_ref().is_some_and(is_same) {
                    self.value.store(Some(Arc::new(value)));
                }
                if !was_current {
                    tracing::info!(secret = name.as_str(), key = key.as_str(), "a key of a Secret has a value");
                }
            }
            Err(why) if was_current => {
                let message =
                    "a key of a Secret has no value that can be used; the last one stays in use, if there was one";
                tracing::warn!(secret = name.as_str(), key = key.as_str(), why, message);
            }
            Err(_) => {}
        }
    }
}

/// The value in a file, without a line break at its end: editors and `echo` add one, and no header may have it.
fn read(path: &Path) -> Result<SecretString, &'static str> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "is not mounted",
        _ => "cannot be read",
    })?;
    let mut bytes = Vec::with_capacity(MAX_BYTES as usize + 1);
    let value = match file.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        Ok(_) => usable(&bytes),
        Err(_) => Err("cannot be read"),
    };
    bytes.zeroize();
    value
}

fn usable(bytes: &[u8]) -> Result<SecretString, &'static str> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is larger than 16 KiB");
    }
    let text = str::from_utf8(bytes).map_err(|_| "is not text")?;
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    match text {
        "" => Err("is empty"),
        text if text.bytes().all(|b| (b' '..=b'~').contains(&b)) => Ok(SecretString::from(text)),
        _ => Err("has characters that a header cannot have"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn reference() -> SecretKeyRef {
        SecretKeyRef { name: "crm".parse().unwrap(), key: "token".parse().unwrap() }
    }

    #[test]
    fn a_value_is_a_line_of_visible_characters() {
        let value = |bytes: &[u8]| usable(bytes).map(|value| value.expose_secret().to_owned());
        for (bytes, expected) in [
            (&b"abc"[..], Ok("abc")),
            (b"abc\n", Ok("abc")),
            (b"abc\r\n", Ok("abc")),
            (b"a b", Ok("a b")),
            (b"abc\n\n", Err("has characters that a header cannot have")),
            (b"a\r\nX: 1", Err("has characters that a header cannot have")),
            (b"a\0", Err("has characters that a header cannot have")),
            ("ü".as_bytes(), Err("has characters that a header cannot have")),
            (b"\xff", Err("is not text")),
            (b"\n", Err("is empty")),
            (&[b'a'; 16 * 1024 + 1], Err("is larger than 16 KiB")),
        ] {
            assert_eq!(value(bytes), expected.map(str::to_owned), "{bytes:?}");
        }
    }

    #[test]
    fn a_value_that_is_gone_or_bad_stays_in_use_and_is_not_current() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(Some(directory.path().to_owned()));
        let file = secrets.file(&reference());
        let path = directory.path().join("crm/token");
        let state = || {
            secrets.refresh();
            (file.value().map(|value| value.expose_secret().to_owned()), file.is_current())
        };
        assert_eq!(state(), (None, false));
        fs::create_dir(directory.path().join("crm")).unwrap();
        fs::write(&path, "one\n").unwrap();
        assert_eq!(state(), (Some("one".into()), true));
        fs::write(&path, "a\nb").unwrap();
        assert_eq!(state(), (Some("one".into()), false));
        fs::remove_file(&path).unwrap();
        assert_eq!(state(), (Some("one".into()), false));
        fs::write(&path, "two").unwrap();
        assert_eq!(state(), (Some("two".into()), true));
        // Whoever uses it next has the same value, also if it is gone meanwhile.
        fs::remove_file(&path).unwrap();
        assert_eq!(secrets.file(&reference()).value().unwrap().expose_secret(), "two");
    }

    #[test]
    fn a_server_without_secrets_has_no_value() {
        let file = Secrets::default().file(&reference());
        assert_eq!((file.value().is_none(), file.is_current()), (true, false));
    }
}
