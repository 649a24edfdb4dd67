//! What both documents have in common: the contract version, the revision, and entries that are read one by one.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::version::Version;
use crate::{
    Finding, Findings,
    document::{self, Flaw},
    name::ClientId,
    revision::Revision,
};

const CONTRACT: &str = "contract";
const REVISION: &str = "revision";

/// An entry of `clients`, or a part of one, that could not be read: it grants nothing, and the others are not affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedClient {
    /// `None` if the entry has no valid id, or if it is the list that cannot be read.
    pub id: Option<ClientId>,
    pub findings: Findings,
}

/// A document whose contract version and revision are right. The other fields are not decoded yet.
pub(super) struct Envelope {
    pub revision: Revision,
    /// Whether the document states it, and so shows that it is complete.
    pub is_sealed: bool,
    fields: Map<String, Value>,
    flaws: Vec<Flaw>,
}

impl Envelope {
    /// # Errors
    /// Returns an error if this is not a mapping, if it is of another contract version, if its revision is not the revision of its
    /// content, or if it is not clear what its fields are.
    pub fn open((document, flaws): (Value, Vec<Flaw>)) -> Result<Self, Findings> {
        let Value::Object(mut fields) = document else {
            return Err(Finding::new("", "must be a mapping with the fields of the contract").into());
        };
        let is_of_all = |flaw: &&Flaw| [CONTRACT, REVISION].iter().any(|name| flaw.concerns(&[name]));
        if let Some(flaw) = flaws.iter().find(is_of_all) {
            return Err(flaw.finding().into());
        }
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
                Ok(Self { revision, is_sealed: stated.is_some(), fields, flaws })
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
        flawless(&self.flaws, &[name])?;
        document::decode(self.fields.remove(name).unwrap_or_default(), name)
    }

    /// The entries of `clients` as they are written; none if it is not a list.
    pub fn raw_clients(&self) -> &[Value] {
        self.fields.get("clients").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Decodes the entries of `clients`, sorted by id. Two entries of one id are both refused: which of them counts would be a
    /// guess. If it is not clear which entries there are, there are none: one that is suspended or gone must not stay in force.
    pub fn take_clients<T: Entry>(&mut self) -> (Vec<T>, Vec<RefusedClient>) {
        let flaw = self.flaws.iter().find(|flaw| flaw.segments == ["clients"]).map(Flaw::finding);
        let entries = match (flaw, self.fields.remove("clients")) {
            (None, None | Some(Value::Null)) => Vec::new(),
            (None, Some(Value::Array(entries))) => entries,
            (flaw, _) => {
                let finding = flaw.unwrap_or_else(|| Finding::new("clients", "must be a list"));
                return (Vec::new(), vec![RefusedClient { id: None, findings: finding.into() }]);
            }
        };
        let mut clients: BTreeMap<ClientId, (usize, T)> = BTreeMap::new();
        // Ids that more than one entry has. One that cannot be read may hold the restriction that the other one lacks.
        let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
        let mut refused = Vec::new();
        for (n, entry) in entries.into_iter().enumerate() {
            let id = id_of(&entry);
            twice.extend(id.clone().filter(|id| !seen.insert(id.clone())));
            let at = format!("clients[{n}]");
            let read = flawless(&self.flaws, &["clients", &n.to_string()]).and_then(|()| T::read(entry, &at));
            let findings = match read {
                Ok((client, findings)) => {
                    clients.insert(client.id().clone(), (n, client));
                    findings
                }
                Err(findings) => findings,
            };
            if !findings.is_empty() {
                refused.push(RefusedClient { id, findings });
            }
        }
        for id in twice {
            if let Some((n, _)) = clients.remove(&id) {
                let finding = Finding::new(format!("clients[{n}].id"), format!("`{id}` appears twice"));
                refused.push(RefusedClient { id: Some(id), findings: finding.into() });
            }
        }
        (clients.into_values().map(|(_, client)| client).collect(), refused)
    }

    /// The fields that were not taken, and what cannot be read of them.
    pub fn rest(self) -> (Map<String, Value>, Vec<Flaw>) {
        (self.fields, self.flaws)
    }

    /// One finding for each field that was not taken.
    pub fn unknown_fields(&self, known: &[&str]) -> Findings {
        unknown_fields(&self.fields, known)
    }
}

/// One finding for each field of a document that is not known.
pub(super) fn unknown_fields(fields: &Map<String, Value>, known: &[&str]) -> Findings {
    let finding = |name: &String| {
        let known = [CONTRACT, REVISION].iter().chain(known).copied().collect::<Vec<_>>().join(", ");
        Finding::new(name.clone(), format!("unknown field; allowed fields: {known}"))
    };
    Findings(fields.keys().filter(|name| !known.contains(&name.as_str())).map(finding).collect())
}

/// An entry of `clients`.
pub(super) trait Entry: Sized {
    fn id(&self) -> &ClientId;

    /// Reads an entry that any release may have written. Items that can be read without each other are left out if they cannot be
    /// read, with a finding.
    ///
    /// # Errors
    /// Returns an error if anything else of it cannot be read, which may be a restriction.
    fn read(entry: Value, at: &str) -> Result<(Self, Findings), Findings>;
}

/// Decodes an entry. If it cannot be read, it is read without the items of its list `list` that are not readable by themselves. Each
/// item grants something, so that nobody gains by that.
pub(super) fn decode_entry<T, Item>(mut entry: Value, list: &str, at: &str) -> Result<(T, Findings), Findings>
where
    T: JsonSchema + DeserializeOwned + 'static,
    Item: JsonSchema + DeserializeOwned + 'static,
{
    if let Ok(decoded) = document::decode_published(&entry, at) {
        return Ok((decoded, Findings::default()));
    }
    let findings = keep_readable::<Item>(&mut entry, list, at);
    Ok((document::decode_published(&entry, at)?, findings))
}

fn keep_readable<T: JsonSchema + DeserializeOwned + 'static>(entry: &mut Value, name: &str, at: &str) -> Findings {
    let mut findings = Findings::default();
    let Some(items) = entry.get_mut(name).and_then(Value::as_array_mut) else { return findings };
    let mut n = 0;
    items.retain(|item| {
        let read = document::decode_published::<T>(item, &format!("{at}.{name}[{n}]"));
        n += 1;
        read.map_err(|found| findings.0.extend(found.0)).is_ok()
    });
    findings
}

fn id_of(entry: &Value) -> Option<ClientId> {
    entry.get("id")?.as_str()?.parse().ok()
}

/// # Errors
/// Returns the flaws in the value at these segments.
pub(super) fn flawless(flaws: &[Flaw], segments: &[&str]) -> Result<(), Findings> {
    Findings(flaws.iter().filter(|flaw| flaw.concerns(segments)).map(Flaw::finding).collect()).or(())
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
