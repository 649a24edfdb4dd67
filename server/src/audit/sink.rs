//! Where the audit log is written: the run mode decides, and nothing else in this crate writes to standard output.

use std::{
    convert::Infallible,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::PathBuf,
    str::FromStr,
};

/// The destination of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    Stdout,
    Stderr,
    /// A file that is created if it does not exist, readable by its owner only. Records are appended.
    File(PathBuf),
}

impl Sink {
    /// Opens the destination for the writer thread.
    ///
    /// # Errors
    /// Returns an error if a standard stream is closed, or if the file cannot be opened.
    pub fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        // `std::io::stdout()` would look for line ends and write each batch in two pieces.
        Ok(Box::new(match self {
            Self::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Self::Stderr => File::from(io::stderr().as_fd().try_clone_to_owned()?),
            Self::File(path) => OpenOptions::new().append(true).create(true).mode(0o600).open(path)?,
        }))
    }
}

/// `stdout`, `stderr`, or else the path of a file.
impl FromStr for Sink {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            path => Self::File(path.into()),
        })
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Stderr => f.write_str("standard error"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_private_and_appended_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let sink: Sink = path.to_str().unwrap().parse().unwrap();
        assert_eq!(sink, Sink::File(path.clone()));
        for line in ["one\n", "two\n"] {
            sink.open().unwrap().write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Sink::File(directory.path().join("missing/audit.log")).open().is_err());
    }

    #[test]
    fn the_standard_streams_have_names() {
        assert_eq!(["stdout", "stderr"].map(str::parse), [Ok(Sink::Stdout), Ok(Sink::Stderr)]);
    }
}
