//! The API server's audit log, read as the list of who wrote what. A resourceVersion does not show a write that changed
//! nothing; this log does, so a test that asserts "nothing is written" counts here.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;

/// A position in the log: what was written before does not count.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// One request that may change something, whether it was refused or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The plural, and the subresource after a `/`: `deployments`, `mcpservers/status`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// The HTTP status of the response.
    pub code: u16,
}

/// What one rule of RBAC grants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Empty for the core group.
    pub group: String,
    /// The plural, and the subresource after a `/`.
    pub resource: String,
    pub verb: String,
}

/// The rights that an account needed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rights {
    pub used: BTreeSet<Right>,
    /// Those that it was refused (403).
    pub refused: BTreeSet<Right>,
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
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    namespace: String,
    name: String,
    subresource: String,
}

impl ObjectRef {
    /// The plural, and the subresource after a `/`.
    fn full_resource(&self) -> String {
        let Self { resource, subresource, .. } = self;
        if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") }
    }
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

    /// The end of the log. An entry is written just after its request was answered.
    ///
    /// # Errors
    /// Returns an error if the log cannot be read.
    pub fn mark(&self) -> Result<Mark, Error> {
        let metadata = std::fs::metadata(&self.path).map_err(self.reading())?;
        Ok(Mark(metadata.len()))
    }

    /// What `user` wrote after `mark`, in the log's order. A service account is `system:serviceaccount:NAMESPACE:NAME`, the
    /// administrator is `admin`. Requests for tokens and access reviews change nothing and are left out.
    ///
    /// # Errors
    /// Returns an error if the log cannot be read.
    pub fn writes_since(&self, mark: Mark, user: &str) -> Result<Vec<Write>, Error> {
        Ok(writes(&self.text_since(mark)?, user))
    }

    /// The rights that `user` needed since the log began, but for those that every account has: to ask for its own rights.
    ///
    /// # Errors
    /// Returns an error if the log cannot be read.
    pub fn rights(&self, user: &str) -> Result<Rights, Error> {
        Ok(rights(&self.text_since(Mark(0))?, user))
    }

    fn text_since(&self, mark: Mark) -> Result<String, Error> {
        let mut text = String::new();
        let mut file = File::open(&self.path).map_err(self.reading())?;
        file.seek(SeekFrom::Start(mark.0)).map_err(self.reading())?;
        file.read_to_string(&mut text).map_err(self.reading())?;
        Ok(text)
    }

    fn reading(&self) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(format!("reading the audit log {}", self.path.display()))
    }
}

fn writes(text: &str, user: &str) -> Vec<Write> {
    events(text, user).filter_map(write).collect()
}

fn rights(text: &str, user: &str) -> Rights {
    let mut rights = Rights::default();
    for event in events(text, user) {
        let Some(object) = event.object_ref else { continue };
        if object.resource.ends_with("reviews") {
            continue;
        }
        let is_refused = event.response_status.is_some_and(|status| status.code == 403);
        let right = Right { resource: object.full_resource(), group: object.api_group, verb: event.verb };
        if is_refused {
            rights.refused.insert(right)
        } else {
            rights.used.insert(right)
        };
    }
    rights
}

/// A last line that is not complete yet is left for the next time.
fn events<'a>(text: &'a str, user: &'a str) -> impl Iterator<Item = Event> + 'a {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let events = whole.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
    events.filter(move |event| event.user.username == user)
}

fn write(event: Event) -> Option<Write> {
    if !matches!(event.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection") {
        return None;
    }
    let object = event.object_ref.unwrap_or_default();
    if object.resource.ends_with("reviews") || object.subresource == "token" {
        return None;
    }
    Some(Write {
        verb: event.verb,
        resource: object.full_resource(),
        namespace: object.namespace,
        name: object.name,
        code: event.response_status.map_or(0, |status| status.code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_lines_of_that_user_are_counted_as_writes() {
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

    #[test]
    fn rights_have_their_group_and_subresource_and_refused_ones_are_apart() {
        let log = r#"{"verb":"watch","user":{"username":"operator"},"objectRef":{"resource":"pods"},"responseStatus":{"code":200}}
{"verb":"list","user":{"username":"operator"},"objectRef":{"resource":"secrets"},"responseStatus":{"code":403}}
{"verb":"get","user":{"username":"operator"}}
{"verb":"patch","user":{"username":"operator"},"objectRef":{"apiGroup":"portcullis.dev","resource":"mcpservers","subresource":"status"},"responseStatus":{"code":200}}
"#;
        let right = |group: &str, resource: &str, verb: &str| Right {
            group: group.to_owned(),
            resource: resource.to_owned(),
            verb: verb.to_owned(),
        };
        let used = [right("", "pods", "watch"), right("portcullis.dev", "mcpservers/status", "patch")].into();
        assert_eq!(rights(log, "operator"), Rights { used, refused: [right("", "secrets", "list")].into() });
    }
}
