//! What of the documents in force was refused, in numbers: names are only in the log.

use std::ops::Add;

use portcullis_crds::contract::{LeftOut, PartKind};
use serde::Serialize;

/// How many parts of documents were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RefusedParts {
    /// The server's half of the policy, and the server's own keys.
    pub server: usize,
    pub backends: usize,
    pub tools: usize,
    /// The entries of clients, and parts of them.
    pub clients: usize,
}

impl RefusedParts {
    /// Counts parts of a server's half.
    pub fn add(&mut self, left_out: &[LeftOut]) {
        for part in left_out {
            match part.kind {
                PartKind::Backend => self.backends += 1,
                PartKind::Tool => self.tools += 1,
            }
        }
    }

    pub fn sum(self) -> usize {
        let Self { server, backends, tools, clients } = self;
        server + backends + tools + clients
    }
}

impl Add for RefusedParts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            server: self.server + other.server,
            backends: self.backends + other.backends,
            tools: self.tools + other.tools,
            clients: self.clients + other.clients,
        }
    }
}
