//! The kinds of backends: one line for each.

use portcullis_crds::{check::CheckedBackend, contract};

use super::{
    address::AddressPolicy,
    common::Backend,
    fixed,
    http::{self, HttpClient},
    kind::Kind,
};

/// Makes backends, and holds what those of a kind share. Clones share it too.
#[derive(Clone)]
pub struct Factory {
    http: HttpClient,
}

impl Factory {
    /// # Errors
    /// Returns an error if TLS is not available, which it is in every build of this crate.
    pub fn new(addresses: AddressPolicy) -> Result<Self, rustls::Error> {
        Ok(Self { http: HttpClient::new(addresses)? })
    }

    /// A backend of a policy. The state of `previous` is kept if its spec is the same.
    pub fn backend(&self, spec: &contract::Backend, checked: &CheckedBackend, previous: Option<&Backend>) -> Backend {
        Backend::new(spec, previous, || self.kind(spec, checked))
    }

    fn kind(&self, spec: &contract::Backend, checked: &CheckedBackend) -> Box<dyn Kind> {
        match checked {
            CheckedBackend::Http(target) => Box::new(http::Http::new(&spec.name, target.clone(), self.http.clone())),
            CheckedBackend::Static => Box::new(fixed::Fixed),
        }
    }
}
