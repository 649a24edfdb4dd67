//! What can be read of a client's spec that cannot be decoded as a whole.
//!
//! Each field that takes access away counts by itself, whatever is wrong beside it. What cannot be read never gives more than
//! there was: whoever uses this grants no more than what the client had.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Access, ApiKey, ClientCredentials, ServerRef};
use crate::{document, time};

/// What can be read of a client's spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartialClientSpec {
    /// The accesses whose server can be read; `None` if it is unknown what the client asks for. A field of an access that cannot be
    /// read stands for all that the client had.
    pub access: Option<Vec<Access>>,
    /// The credentials; `None` if it is unknown which the client has.
    pub credentials: Option<ClientCredentials>,
    /// Also true if it cannot be read whether the client is suspended, when its access ends, or which of its keys are revoked: a
    /// restriction that cannot be read is not ignored.
    pub suspended: bool,
    pub expires_at: Option<Time>,
    /// Keys that were issued before this time are revoked, also if it cannot be read which Secret contains them.
    pub revoke_before: Option<Time>,
}

impl PartialClientSpec {
    /// Reads what can be read of a spec. `spec` is null if it cannot be read at all.
    pub fn read(spec: &Value) -> Self {
        let Some(spec) = spec.as_object() else { return Self::default() };
        let expires_at = time_of(spec, "expiresAt");
        let api_key =
            given(spec, "credentials").and_then(|it| given(it.as_object()?, "apiKey")).and_then(Value::as_object);
        let revoke_before = api_key.map_or(Ok(None), |api_key| time_of(api_key, "revokeBefore"));
        let has_unreadable_key = |object: &Map<String, Value>| object.contains_key(document::UNREADABLE);
        let is_suspended = match given(spec, "suspended") {
            _ if has_unreadable_key(spec) || api_key.is_some_and(has_unreadable_key) => true,
            None => false,
            Some(value) => value.as_bool().unwrap_or(true),
        };
        let access = given(spec, "access").and_then(Value::as_array);
        Self {
            access: access.map(|all| all.iter().filter_map(access_of).collect()),
            credentials: given(spec, "credentials").and_then(Value::as_object).and_then(credentials_of),
            suspended: is_suspended || expires_at.is_err() || revoke_before.is_err(),
            expires_at: expires_at.unwrap_or_default(),
            revoke_before: revoke_before.unwrap_or_default(),
        }
    }
}

/// An access, with the most that each field that cannot be read may ask for; `None` if it cannot be read for which server.
fn access_of(access: &Value) -> Option<Access> {
    let access = access.as_object()?;
    let server_ref: ServerRef = read(access, "serverRef")?;
    let conditions = given(access, "where").and_then(Value::as_array);
    Some(Access {
        server_ref,
        tools: match given(access, "tools") {
            Some(Value::Array(tools)) => tools.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            // The field is required: that it is missing is a mistake, and no removal.
            None | Some(_) => vec!["*".to_owned()],
        },
        max_records_per_query: read(access, "maxRecordsPerQuery").unwrap_or(u32::MAX),
        allow_write: given(access, "allowWrite").is_some_and(|value| value.as_bool().unwrap_or(true)),
        conditions: conditions.map_or_else(Vec::new, |all| all.iter().filter_map(document::decode_known).collect()),
        limits: read(access, "limits"),
    })
}

/// The credentials; `None` if one of them cannot be read.
fn credentials_of(credentials: &Map<String, Value>) -> Option<ClientCredentials> {
    match given(credentials, "apiKey") {
        None => Some(ClientCredentials { api_key: None }),
        Some(_) => read::<ApiKey>(credentials, "apiKey").map(|key| ClientCredentials { api_key: Some(key) }),
    }
}

/// A time, or none; an error if it cannot be read.
fn time_of(object: &Map<String, Value>, name: &str) -> Result<Option<Time>, ()> {
    match given(object, name) {
        None => Ok(None),
        Some(Value::String(text)) => time::parse(text).map(Some).map_err(drop),
        Some(_) => Err(()),
    }
}

/// A field that is set. Null is the same as absent, as for the API server.
fn given<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

fn read<T: JsonSchema + DeserializeOwned + 'static>(object: &Map<String, Value>, name: &str) -> Option<T> {
    document::decode_known(given(object, name)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn access(tools: &[&str], max_records_per_query: u32, allow_write: bool) -> Access {
        let server_ref = ServerRef { name: "crm".parse().unwrap(), namespace: None };
        let tools = tools.iter().map(|tool| (*tool).to_owned()).collect();
        Access { server_ref, tools, max_records_per_query, allow_write, conditions: Vec::new(), limits: None }
    }

    #[test]
    fn each_field_that_takes_access_away_is_read_by_itself() {
        let unknown = PartialClientSpec::default;
        let suspended = || PartialClientSpec { suspended: true, ..unknown() };
        let with = |access: Vec<Access>| PartialClientSpec { access: Some(access), ..unknown() };
        for (spec, expected) in [
            (json!(null), unknown()),
            (json!("everything"), unknown()),
            (json!({"access": "everything", "credentials": 1}), unknown()),
            (json!({"suspended": true, "expiresAt": "soon"}), suspended()),
            (json!({"suspended": "no"}), suspended()),
            (json!({document::UNREADABLE: document::UNREADABLE}), suspended()),
            (json!({"suspended": null, "expiresAt": null}), unknown()),
            (json!({"suspended": false, "expiresAt": "2027-01-01T00:00:00+99:00"}), suspended()),
            (
                json!({"expiresAt": "2027-01-01T00:00:00Z", "later": [1]}),
                PartialClientSpec { expires_at: time::parse("2027-01-01T00:00:00Z").ok(), ..unknown() },
            ),
            (json!({"access": []}), with(vec![])),
            (json!({"access": [7, {"serverRef": {"name": "wiki..old"}, "tools": ["a"]}]}), with(vec![])),
            (
                json!({"access": [{"serverRef": {"name": "crm"}, "tools": ["a", 7], "maxRecordsPerQuery": 3, "limits": 1}]}),
                with(vec![access(&["a"], 3, false)]),
            ),
            (
                json!({"access": [{"serverRef": {"name": "crm"}, "tools": "a", "maxRecordsPerQuery": -1, "allowWrite": 1}]}),
                with(vec![access(&["*"], u32::MAX, true)]),
            ),
            (
                json!({"credentials": {}}),
                PartialClientSpec { credentials: Some(ClientCredentials { api_key: None }), ..unknown() },
            ),
            (json!({"credentials": {"apiKey": {"secretName": "a..b"}}}), unknown()),
            (
                json!({"credentials": {"apiKey": {"secretName": "a..b", "revokeBefore": "2027-01-01T00:00:00Z"}}}),
                PartialClientSpec { revoke_before: time::parse("2027-01-01T00:00:00Z").ok(), ..unknown() },
            ),
            (json!({"credentials": {"apiKey": {"secretName": "key", "revokeBefore": "now"}}}), suspended()),
        ] {
            assert_eq!(PartialClientSpec::read(&spec), expected, "{spec}");
        }
    }
}
