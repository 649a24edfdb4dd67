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
    token::TokenSource,
};
use crate::backend::{failure::Failure, http::HttpClient};

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
    Token(Arc<TokenSource>),
    ClientId,
}

/// The headers of one call. They have no form for printing.
pub struct CallHeaders {
    headers: Vec<(HeaderName, HeaderValue)>,
    secrets: Vec<Arc<SecretString>>,
    token: Option<UsedToken>,
}

/// A token that was sent with a call.
pub struct UsedToken {
    source: Arc<TokenSource>,
    token: Arc<SecretString>,
}

impl Outgoing {
    /// `client` makes a client for a token endpoint.
    pub fn new(headers: &OutgoingHeaders, secrets: &Secrets, client: impl Fn() -> HttpClient) -> Self {
        let value = |value: &OutgoingValue| match value {
            OutgoingValue::Literal(value) => Value::Literal(value.clone()),
            OutgoingValue::Secret(secret) => Value::Secret { file: secrets.file(secret), scheme: "" },
            OutgoingValue::Bearer(secret) => Value::Secret { file: secrets.file(secret), scheme: "Bearer " },
            OutgoingValue::Token(request) => {
                Value::Token(Arc::new(TokenSource::new(request.clone(), secrets.file(&request.secret), client())))
            }
            OutgoingValue::ClientId => Value::ClientId,
        };
        Self(headers.iter().map(|header| (header.name.clone(), value(&header.value))).collect())
    }

    /// Whether a value is missing, or is not the one that its Secret has now.
    pub fn is_impaired(&self) -> bool {
        self.0.iter().any(|(_, value)| match value {
            Value::Secret { file, .. } => !file.is_current(),
            Value::Token(source) => source.is_impaired(),
            Value::Literal(_) | Value::ClientId => false,
        })
    }

    /// The headers of a call of a client. May wait for a token, which the timeout of the call bounds.
    ///
    /// # Errors
    /// Returns an error if one of them has no value: the call must not be sent without it.
    pub async fn of_call(&self, client: Option<&ClientId>) -> Result<CallHeaders, Failure> {
        let mut call = CallHeaders { headers: Vec::with_capacity(self.0.len()), secrets: Vec::new(), token: None };
        for (name, value) in &*self.0 {
            let value = match value {
                Value::Literal(value) => value.clone(),
                Value::Secret { file, scheme } => {
                    let missing =
                        || Failure::Credentials(format!("{} has no value that can be used", file.reference()));
                    let secret = file.value().ok_or_else(missing)?;
                    let value = sensitive(scheme, &secret).ok_or_else(missing)?;
                    call.secrets.push(secret);
                    value
                }
                Value::Token(source) => {
                    let token = source.token().await.map_err(Failure::Credentials)?;
                    let unusable = || Failure::Credentials("its token cannot be sent".to_owned());
                    let value = sensitive("Bearer ", &token).ok_or_else(unusable)?;
                    call.secrets.push(token.clone());
                    call.token = Some(UsedToken { source: source.clone(), token });
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
    pub fn put(self, request: &mut HeaderMap) -> (Redaction, Option<UsedToken>) {
        for (name, value) in self.headers {
            request.insert(name, value);
        }
        (Redaction::new(self.secrets), self.token)
    }
}

impl UsedToken {
    /// The backend refused it.
    pub fn refused(&self) {
        self.source.refused(&self.token);
    }
}

fn sensitive(scheme: &str, secret: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme}{}", secret.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
