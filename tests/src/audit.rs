//! The API server's audit log, read as the list of who wrote what. A resourceVersion does not show a write that changed
//! nothing; this log does, so it is where a test counts when it says "no write".

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;

/// A place in the log: what was written before it does not count.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// One request that may change something, as the API server saw it, refused ones included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The plural, and after a `/` the subresource: `deployments`, `mcpservers/status`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

/// The audit log of one API server.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<ResponseStatus>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: u16,
}

impl AuditLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log's end as it is now. An entry is there just after its request was answered.
    pub fn mark(&self) -> Result<Mark, Error> {
        let metadata = std::fs::metadata(&self.path).map_err(self.reading())?;
        Ok(Mark(metadata.len()))
    }

    /// What `user` wrote since then, in the log's order. A service account is `system:serviceaccount:NAMESPACE:NAME`; the
    /// cluster's own kubeconfig is `admin`. Requests for tokens and access reviews change nothing and don't count.
    pub fn writes_since(&self, mark: Mark, user: &str) -> Result<Vec<Write>, Error> {
        let mut text = String::new();
        let mut file = File::open(&self.path).map_err(self.reading())?;
        file.seek(SeekFrom::Start(mark.0)).map_err(self.reading())?;
        file.read_to_string(&mut text).map_err(self.reading())?;
        Ok(writes(&text, user))
    }

    fn reading(&self) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(format!("reading the audit log {}", self.path.display()))
    }
}

/// A last line that is not whole yet is left for the next look.
fn writes(text: &str, user: &str) -> Vec<Write> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let events = whole.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
    events.filter(|event| event.user.username == user).filter_map(write).collect()
}

fn write(event: Event) -> Option<Write> {
    if !matches!(event.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection") {
        return None;
    }
    let object = event.object_ref.unwrap_or_default();
    if object.resource.ends_with("reviews") || object.subresource == "token" {
        return None;
    }
    let subresource = if object.subresource.is_empty() { String::new() } else { format!("/{}", object.subresource) };
    Some(Write {
        verb: event.verb,
        resource: object.resource + &subresource,
        namespace: object.namespace,
        name: object.name,
        code: event.response_status.map_or(0, |status| status.code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writes_of_that_user_count_and_half_a_line_waits() {
        let log = r#"{"verb":"get","user":{"username":"operator"},"objectRef":{"resource":"pods"},"responseStatus":{"code":200}}
{"verb":"create","user":{"username":"operator"},"objectRef":{"resource":"selfsubjectaccessreviews"},"responseStatus":{"code":201}}
{"verb":"patch","user":{"username":"admin"},"objectRef":{"resource":"pods","namespace":"a","name":"b"},"responseStatus":{"code":200}}
{"verb":"patch","user":{"username":"operator"},"objectRef":{"resource":"pods","subresource":"status","namespace":"a","name":"b"},"responseStatus":{"code":200}}
{"verb":"delete","user":{"username":"operator"},"objectRef":{"resour"#;
        let expected = Write {
            verb: "patch".to_owned(),
            resource: "pods/status".to_owned(),
            namespace: "a".to_owned(),
            name: "b".to_owned(),
            code: 200,
        };
        assert_eq!(writes(log, "operator"), [expected]);
    }
}
