//! The kinds of backends: one line for each.

use std::sync::Arc;

use portcullis_crds::{
    check::{CheckedBackend, HttpTarget},
    contract,
};

use super::{
    address::AddressPolicy,
    breaker::Breaker,
    common::Backend,
    credentials::{Outgoing, Secrets},
    fixed,
    http::{self, HttpClients},
    kind::Kind,
    places::Places,
};

/// Makes backends, and holds what those of a kind share. Clones share it too.
#[derive(Clone)]
pub struct Factory {
    http: HttpClients,
    places: Places,
    secrets: Secrets,
}

impl Factory {
    /// Backends that have no more than so many connections together.
    ///
    /// # Errors
    /// Returns an error if TLS is not available, which it is in every build of this crate.
    pub fn new(addresses: AddressPolicy, connections: usize) -> Result<Self, rustls::Error> {
        let places = Places::new(connections);
        Ok(Self { http: HttpClients::new(addresses, places.clone())?, places, secrets: Secrets::default() })
    }

    /// The same, with the values of Secrets.
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// The connections to backends.
    pub fn connections(&self) -> usize {
        self.places.taken()
    }

    /// The bytes of responses that are being received.
    pub fn received(&self) -> usize {
        self.http.received().held()
    }

    /// A backend of a policy. The state of `previous` is kept if its spec is the same.
    pub fn backend(&self, spec: &contract::Backend, checked: &CheckedBackend, previous: Option<&Backend>) -> Backend {
        Backend::new(spec, previous, |breaker| self.kind(spec, checked, breaker))
    }

    fn kind(&self, spec: &contract::Backend, checked: &CheckedBackend, breaker: &Arc<Breaker>) -> Box<dyn Kind> {
        match checked {
            CheckedBackend::Http(target, headers) => {
                let outgoing = Outgoing::new(headers, &self.secrets, || self.http.client(Arc::default()));
                Box::new(http::Http::new(
                    &spec.name,
                    HttpTarget::clone(target),
                    self.http.client(breaker.clone()),
                    outgoing,
                ))
            }
            CheckedBackend::Static => Box::new(fixed::Fixed),
        }
    }
}
