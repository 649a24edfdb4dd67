//! Which of a server's rules admits a client: the first whose namespaces match. A client that no rule matches is refused.

use portcullis_crds::contract::{ClientRule, NamespacesFrom, ServerHalf};

use super::{client_request::ClientRequest, decision::Refusal};

/// Decides about one client after the other, and counts those that each rule admits.
pub(super) struct Admission<'a> {
    server: &'a ServerHalf,
    /// The number of clients that each rule has admitted.
    admitted: Vec<u32>,
}

impl<'a> Admission<'a> {
    pub fn new(server: &'a ServerHalf) -> Self {
        Self { server, admitted: vec![0; server.spec.clients.len()] }
    }

    /// The position of the rule that admits the client. Older clients must come first: they have precedence.
    ///
    /// # Errors
    /// Returns why no rule admits it.
    pub fn admit(&mut self, request: &ClientRequest<'_>) -> Result<usize, Refusal> {
        if request.published.is_none() && request.keeps_at_most() {
            return Err(if request.findings.is_empty() { Refusal::ServerUnreadable } else { Refusal::Invalid });
        }
        let namespace = request.namespace();
        let rules = &self.server.spec.clients;
        let Some(n) = rules.iter().position(|rule| self.matches(rule, namespace)) else {
            return Err(Refusal::NotAllowed { namespace: namespace.to_owned() });
        };
        if self.admitted[n] >= rules[n].max_clients {
            return Err(Refusal::TooManyClients { namespace: namespace.to_owned(), max_clients: rules[n].max_clients });
        }
        self.admitted[n] += 1;
        Ok(n)
    }

    fn matches(&self, rule: &ClientRule, namespace: &str) -> bool {
        match rule.namespaces.from {
            NamespacesFrom::Same => namespace == self.server.server.namespace,
            NamespacesFrom::All => true,
        }
    }
}
