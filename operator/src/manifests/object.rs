//! The objects that manifests contain.

use std::fmt;

use portcullis_crds::{
    Findings, McpClient, McpServer, NamespacedName, client::PartialClientSpec, server::PartialServerSpec,
};

use crate::object::Undecodable;

/// Which of the two resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    McpServer,
    McpClient,
}

/// Which object; printed as `McpServer sales/crm`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    pub kind: Kind,
    pub name: NamespacedName,
}

/// An object of a file. Of its metadata it has a name and a namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Manifest {
    Server(Box<McpServer>),
    Client(Box<McpClient>),
}

/// An object as a file contains it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reading {
    Valid(Manifest),
    /// It has a mistake. What can be read counts where it takes access away, and so does the value of its annotation that asks for a
    /// new key.
    Mistaken(Mistake, Option<String>),
}

/// What is wrong with an object, and what can be read of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mistake {
    Server(Box<Undecodable<PartialServerSpec>>),
    Client(Box<Undecodable<PartialClientSpec>>),
}

impl Mistake {
    pub fn with(mut self, findings: Findings) -> Self {
        match &mut self {
            Self::Server(mistake) => mistake.findings = findings,
            Self::Client(mistake) => mistake.findings = findings,
        }
        self
    }
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::McpServer, Self::McpClient];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::McpServer => "McpServer",
            Self::McpClient => "McpClient",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ObjectId {
    pub fn server(name: &NamespacedName) -> Self {
        Self { kind: Kind::McpServer, name: name.clone() }
    }

    pub fn client(name: &NamespacedName) -> Self {
        Self { kind: Kind::McpClient, name: name.clone() }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
