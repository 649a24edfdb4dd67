//! The headers of each call to a backend, with the values that they have at that moment.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_crds::{
    ClientId,
    check::{OutgoingHeaders, OutgoingValue},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    redaction::Redaction,
    secrets::{SecretFile, Secrets},
};
use crate::backend::failure::Failure;

/// The headers of a backend. Clones share them.
#[derive(Clone)]
pub struct Outgoing(Arc<[(HeaderName, Value)]>);

enum Value {
    Literal(HeaderValue),
    Secret {
        file: Arc<SecretFile>,
        /// Before the value.
        scheme: &'static str,
    },
    ClientId,
}

/// The headers of one call. They have no form for printing.
pub struct CallHeaders {
    headers: Vec<(HeaderName, HeaderValue)>,
    secrets: Vec<Arc<SecretString>>,
}

impl Outgoing {
    pub fn new(headers: &OutgoingHeaders, secrets: &Secrets) -> Self {
        let value = |value: &OutgoingValue| match value {
            OutgoingValue::Literal(value) => Value::Literal(value.clone()),
            OutgoingValue::Secret(secret) => Value::Secret { file: secrets.file(secret), scheme: "" },
            OutgoingValue::Bearer(secret) => Value::Secret { file: secrets.file(secret), scheme: "Bearer " },
            OutgoingValue::ClientId => Value::ClientId,
        };
        Self(headers.iter().map(|header| (header.name.clone(), value(&header.value))).collect())
    }

    /// Whether a value is missing, or is not the one that its Secret has now.
    pub fn is_impaired(&self) -> bool {
        self.0.iter().any(|(_, value)| matches!(value, Value::Secret { file, .. } if !file.is_current()))
    }

    /// The headers of a call of a client.
    ///
    /// # Errors
    /// Returns an error if one of them has no value: the call must not be sent without it.
    pub fn of_call(&self, client: Option<&ClientId>) -> Result<CallHeaders, Failure> {
        let mut call = CallHeaders { headers: Vec::with_capacity(self.0.len()), secrets: Vec::new() };
        for (name, value) in &*self.0 {
            let value = match value {
                Value::Literal(value) => value.clone(),
                Value::Secret { file, scheme } => {
                    let missing =
                        || Failure::Credentials(format!("{} has no value that can be used", file.reference()));
                    let secret = file.value().ok_or_else(missing)?;
                    let value = HeaderValue::from_str(&format!("{scheme}{}", secret.expose_secret()));
                    let mut value = value.map_err(|_| missing())?;
                    value.set_sensitive(true);
                    call.secrets.push(secret);
                    value
                }
                Value::ClientId => {
                    let unknown =
                        || Failure::Credentials(format!("the caller has no client id for the header `{name}`"));
                    let client = client.ok_or_else(unknown)?;
                    HeaderValue::from_str(client.as_str()).map_err(|_| unknown())?
                }
            };
            call.headers.push((name.clone(), value));
        }
        Ok(call)
    }
}

impl CallHeaders {
    /// Puts the headers into a request, in place of those of the same names.
    pub fn put(self, request: &mut HeaderMap) -> Redaction {
        for (name, value) in self.headers {
            request.insert(name, value);
        }
        Redaction::new(self.secrets)
    }
}
