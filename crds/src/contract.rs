//! The policy contract: the two documents that the operator writes and the server obeys.
//!
//! `policy.yaml` says what the server offers and what each client may do; it contains no secret. `credentials.yaml` contains the
//! digests of the clients' API keys. Access needs both, and removing a client from either one denies it, so that any mix of an
//! old and a new document is safe.
//!
//! The types here belong to the contract alone: a change of the custom resources changes no document ([`convert`] is the only
//! place that knows both). Within one contract version a field that has its default is not printed, and no default ever
//! changes, so that an older server reads a newer document that uses nothing new. A field that a server does not know refuses
//! the smallest part that contains it: a tool, a backend with its tools, an item of a client's entry, that entry, or else the whole
//! server's half. Of the server's half the last valid form of what is refused stays, for the clients that had it and still have
//! it; what is refused of a client is denied.

mod admission;
mod argument_condition;
mod backend;
mod backend_credentials;
mod client;
mod convert;
mod credentials;
mod defaults;
mod digest;
mod envelope;
mod half_reading;
mod limits;
mod listing;
mod policy;
mod published;
mod server_half;
mod settings;
mod tool;
mod version;

pub use admission::{Allowance, ClientRule, NamespaceSelection, NamespacesFrom};
pub use argument_condition::{ArgumentCondition, ArgumentPointer, ArgumentTest, is_resolved_elsewhere};
pub use backend::{Backend, BackendKind, HttpBackend};
pub use backend_credentials::{BackendCredentials, BackendHeader, ClientCredentials, HeaderValue, IdentityValue};
pub use client::{MOST_CONDITIONS, PolicyClient};
pub use convert::{client_rules, rate, server_spec};
pub use credentials::{
    ApiKeyDigest, CREDENTIALS_FILE, CredentialClient, Credentials, CredentialsReading, PublishedCredentials, ServerKeys,
};
pub use digest::{KEY_PREFIX, KeyDigest, SecretKey};
pub use envelope::RefusedClient;
pub use half_reading::{HalfReading, LeftOut, PartKind, ServerParts};
pub use limits::{GlobalLimit, Limits, Rate};
pub use listing::{Icon, Theme, ToolAnnotations};
pub use policy::{POLICY_FILE, Policy, PolicyReading};
pub use published::{PublishedHalf, PublishedPolicy};
pub use server_half::{ServerHalf, ServerIdentity, ServerSpec};
pub use settings::{
    ApiKeyAuthentication, Audit, AuditArguments, Authentication, KeyHeader, LogLevel, MethodMode, OnOverflow,
};
pub use tool::{
    Effect, FormPart, HttpMethod, HttpTool, LONGEST_TIMEOUT, PartEncoding, Records, StaticTool, Style, Tool, ToolAudit,
    ToolKind,
};
pub use version::Version;

#[cfg(test)]
mod tests;
