//! A finding with the file and the object that it is about.

use std::fmt;

use portcullis_crds::Finding;

use super::object::ObjectId;

/// What a finding means for its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file or object is refused: its last valid state stays in force.
    Refused,
    /// It is accepted, and something that it requests is not granted.
    Finding,
    /// It is accepted, and may not be what was meant.
    Warning,
}

/// A finding in a folder, printed as `server.yaml: McpServer sales/crm: spec.tools[3].backend: …`, or as `server.yaml:12:3: …` if
/// the file is not YAML; after `warning: ` if it is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: String,
    /// Line and column, counted from 1, of a syntax error.
    pub position: Option<(usize, usize)>,
    pub object: Option<ObjectId>,
    pub finding: Finding,
    pub severity: Severity,
}

impl Problem {
    /// About a file as a whole.
    pub fn file(file: &str, message: impl Into<String>) -> Self {
        let finding = Finding::new("", message);
        Self { file: file.to_owned(), position: None, object: None, finding, severity: Severity::Refused }
    }

    /// About an object in a file.
    pub fn object(file: &str, object: &ObjectId, finding: Finding, severity: Severity) -> Self {
        Self { file: file.to_owned(), position: None, object: Some(object.clone()), finding, severity }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        self.finding.fmt(f)
    }
}
