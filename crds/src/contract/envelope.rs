//! What both documents have in common: the contract version, the revision, and entries that are read one by one.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::version::Version;
use crate::{Finding, Findings, document, name::ClientId, revision::Revision};

const CONTRACT: &str = "contract";
const REVISION: &str = "revision";

/// An entry of `clients` that could not be read: it is denied, and the others are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedClient {
    /// `None` if the entry has no valid id.
    pub id: Option<ClientId>,
    pub findings: Findings,
}

/// A document whose contract version and revision are right. The other fields are not decoded yet.
pub(super) struct Envelope {
    pub revision: Revision,
    /// Whether the document states it, and so shows that it is complete.
    pub is_sealed: bool,
    fields: Map<String, Value>,
}

impl Envelope {
    /// # Errors
    /// Returns an error if this is not a mapping, if it is of another contract version, or if its revision is not the
    /// revision of its content.
    pub fn open(document: Value) -> Result<Self, Findings> {
        let Value::Object(mut fields) = document else {
            return Err(Finding::new("", "must be a mapping with the fields of the contract").into());
        };
        check_version(fields.get(CONTRACT))?;
        let stated = fields.remove(REVISION).filter(|stated| !stated.is_null());
        let revision = Revision::of(&fields).map_err(|error| Finding::new("", format!("has no JSON form: {error}")))?;
        match stated.map(serde_json::from_value::<Revision>) {
            Some(Ok(stated)) if stated != revision => Err(Finding::new(
                REVISION,
                "is not the revision of the content: the document was edited by hand, or is incomplete; leave the field out",
            )
            .into()),
            Some(Err(_)) => Err(Finding::new(REVISION, Revision::ALLOWED).into()),
            stated @ (Some(Ok(_)) | None) => {
                fields.remove(CONTRACT);
                Ok(Self { revision, is_sealed: stated.is_some(), fields })
            }
        }
    }

    /// # Errors
    /// Returns an error if one of these fields is missing.
    pub fn require<const N: usize>(&self, names: [&str; N]) -> Result<(), Findings> {
        let is_missing = |name: &&str| self.fields.get(*name).is_none_or(Value::is_null);
        Findings(names.into_iter().filter(is_missing).map(|name| Finding::new(name, "is missing")).collect()).or(())
    }

    /// Decodes one field of the document; `Value::Null` if it is missing.
    pub fn take<T: JsonSchema + DeserializeOwned + 'static>(&mut self, name: &str) -> Result<T, Findings> {
        document::decode(self.fields.remove(name).unwrap_or_default(), name)
    }

    /// As [`Envelope::take`], for a field that another release published.
    pub fn take_published<T: JsonSchema + DeserializeOwned + 'static>(&mut self, name: &str) -> Option<T> {
        document::decode_published(self.fields.remove(name)?)
    }

    /// Decodes the entries of `clients`, sorted by id. Two entries of one id are both refused: which of them counts would be a
    /// guess.
    ///
    /// # Errors
    /// Returns an error if `clients` is not a list.
    pub fn take_clients<T: Entry>(&mut self) -> Result<(Vec<T>, Vec<RefusedClient>), Findings> {
        let entries = match self.fields.remove("clients") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(Finding::new("clients", "must be a list").into()),
        };
        let mut clients: BTreeMap<ClientId, (usize, T)> = BTreeMap::new();
        let mut twice = BTreeSet::new();
        let mut refused = Vec::new();
        for (n, entry) in entries.into_iter().enumerate() {
            let id = entry.get("id").and_then(Value::as_str).and_then(|id| id.parse::<ClientId>().ok());
            match document::decode::<T>(entry, &format!("clients[{n}]")) {
                Ok(client) => {
                    if clients.contains_key(client.id()) {
                        twice.insert(client.id().clone());
                    }
                    clients.insert(client.id().clone(), (n, client));
                }
                Err(findings) => refused.push(RefusedClient { id, findings }),
            }
        }
        // An entry that cannot be read may hold the restriction that another one of its id lacks.
        twice.extend(refused.iter().filter_map(|refused| refused.id.clone()).filter(|id| clients.contains_key(id)));
        for id in twice {
            if let Some((n, _)) = clients.remove(&id) {
                let finding = Finding::new(format!("clients[{n}].id"), format!("`{id}` appears twice"));
                refused.push(RefusedClient { id: Some(id), findings: finding.into() });
            }
        }
        Ok((clients.into_values().map(|(_, client)| client).collect(), refused))
    }

    /// One finding for each field that was not taken.
    pub fn unknown_fields(&self, known: &[&str]) -> Findings {
        let finding = |name: &String| {
            let known = [CONTRACT, REVISION].iter().chain(known).copied().collect::<Vec<_>>().join(", ");
            Finding::new(name.clone(), format!("unknown field; allowed fields: {known}"))
        };
        Findings(self.fields.keys().map(finding).collect())
    }
}

/// An entry of `clients`.
pub(super) trait Entry: JsonSchema + DeserializeOwned + 'static {
    fn id(&self) -> &ClientId;
}

fn check_version(found: Option<&Value>) -> Result<(), Findings> {
    let expected = Version::CURRENT.number();
    match found.and_then(Value::as_u64) {
        Some(found) if found == u64::from(expected) => Ok(()),
        Some(found) => {
            let message = format!(
                "is {found}, and this program reads {expected}; run versions of the operator and the server that belong together"
            );
            Err(Finding::new(CONTRACT, message).into())
        }
        None => Err(Finding::new(CONTRACT, format!("is missing; it must be {expected}")).into()),
    }
}

/// The revision of a document and its text, which is the same for the same content.
pub(super) fn print(content: &impl Serialize) -> (Revision, String) {
    #[derive(Serialize)]
    struct Document<'a, T> {
        contract: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        revision: Option<&'a Revision>,
        #[serde(flatten)]
        content: &'a T,
    }
    let contract = Version::CURRENT.number();
    let revision = Revision::of(&Document { contract, revision: None, content });
    let revision = revision.expect("a document must have a JSON form");
    let text = serde_yaml::to_string(&Document { contract, revision: Some(&revision), content });
    (revision, text.expect("a document must have a YAML form"))
}
