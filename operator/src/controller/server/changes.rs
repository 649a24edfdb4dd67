//! The latest revisions of a document and whose access each of them changed, kept in an annotation of the document's object: so
//! that what a pod serves can be compared with what is published, also by an operator that was started since. Pure.
//!
//! The annotation is written together with the document. A revision that it does not know is one that may differ for everybody.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use portcullis_crds::{ClientId, revision::Revision};
use serde::{Deserialize, Serialize};

use crate::{
    mapping::Mapping,
    probe::{Left, SETTLED},
};

/// The annotation of a document's object.
pub const ANNOTATION: &str = "portcullis.dev/changes";
/// How many revisions are kept, how many clients are named for one, and how long the annotation may be, in bytes.
const MAX_REVISIONS: usize = 16;
const MAX_CLIENTS: usize = 128;
const MAX_BYTES: usize = 32 * 1024;
/// How precise the times of publications are.
const PRECISION: SignedDuration = SignedDuration::from_secs(1);
/// How many digits of a revision are kept.
const DIGITS: usize = 12;

/// The latest revisions of a document, the current one first.
#[derive(Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(transparent)]
pub struct Changes(Vec<Change>);

/// One revision, and what it changed.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Change {
    /// The first digits, as many as [`Revision::short`] has.
    revision: String,
    published_at: Timestamp,
    /// The clients whose entries differ from those of the revision before; absent if that is any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clients: Option<BTreeSet<ClientId>>,
}

/// The clients that a pod does not serve as it is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behind {
    #[default]
    Nobody,
    Only(BTreeSet<ClientId>),
    Anybody,
}

impl Behind {
    pub fn contains(&self, client: &ClientId) -> bool {
        match self {
            Self::Nobody => false,
            Self::Only(clients) => clients.contains(client),
            Self::Anybody => true,
        }
    }

    /// Those of both.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Anybody, _) | (_, Self::Anybody) => Self::Anybody,
            (Self::Nobody, behind) | (behind, Self::Nobody) => behind,
            (Self::Only(one), Self::Only(other)) => Self::Only(one.into_iter().chain(other).collect()),
        }
    }
}

impl Changes {
    /// What an object's annotation says; nothing if it cannot be read.
    pub fn read(annotation: Option<&str>) -> Self {
        let changes: Option<Vec<Mapping<Change>>> = annotation.and_then(|text| serde_json::from_str(text).ok());
        let changes = Self(changes.into_iter().flatten().map(|Mapping(change)| change).collect());
        let is_readable = changes.0.iter().all(|change| change.revision.len() == DIGITS);
        if is_readable { changes } else { Self::default() }
    }

    /// The annotation.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("names and times must have a JSON form")
    }

    /// With the revision that is published now. `changed` are the clients whose entries differ from those of the revision `before`;
    /// `None` if they are unknown.
    pub fn publish(
        &self,
        before: Option<&Revision>,
        revision: &Revision,
        changed: Option<BTreeSet<ClientId>>,
        now: Timestamp,
    ) -> Self {
        if self.is_current(revision) {
            return self.clone();
        }
        let is_continued = before.is_some_and(|before| self.is_current(before));
        let clients = changed.filter(|clients| is_continued && clients.len() <= MAX_CLIENTS);
        let known: &[Change] = if is_continued { &self.0 } else { &[] };
        Self::first(revision, clients, now).followed_by(known)
    }

    /// With the current revision published once more, because somebody else wrote another document in its place.
    pub fn publish_again(&self, now: Timestamp) -> Self {
        let Some(current) = self.0.first() else { return Self::default() };
        let again = Change { clients: None, published_at: whole_seconds(now), ..current.clone() };
        // However often that happens, it takes the room of one.
        let is_again = self.0.get(1).is_some_and(|before| before.revision == current.revision);
        let older = if is_again { &self.0[1..] } else { &self.0 };
        Self(vec![again]).followed_by(older)
    }

    /// With the current revision published only now.
    pub fn publish_late(&self, now: Timestamp) -> Self {
        let mut changes = self.clone();
        changes.0.first_mut().into_iter().for_each(|current| current.published_at = whole_seconds(now));
        changes
    }

    /// Whose access a pod of this revision does not serve as it is published, and since when it could.
    pub fn since(&self, served: Option<&str>) -> (Behind, Option<Timestamp>) {
        let is_served = |change: &Change| served.is_some_and(|served| served.starts_with(&change.revision));
        match self.0.iter().position(is_served) {
            Some(0) => (Behind::Nobody, None),
            Some(later) => (self.behind(later), Some(self.0[later - 1].published_at)),
            None => {
                let oldest = self.0.iter().find(|change| change.clients.is_none()).or(self.0.last());
                (Behind::Anybody, oldest.map(|change| change.published_at))
            }
        }
    }

    /// Until when a pod that serves the current revision may have it from before, and may still take up what was published in
    /// between; `None` if the current revision was published only once.
    pub fn doubtful_until(&self) -> Option<Timestamp> {
        let (current, older) = self.0.split_first()?;
        let is_repeated = older.iter().any(|change| change.revision == current.revision);
        is_repeated.then_some(current.published_at)?.checked_add(SETTLED).ok()
    }

    /// Whose access a pod that serves the current revision may not serve for long, because it has had this revision since before the
    /// ones in between, and since when that is so; `None` if it was seen to leave it, or has had the time. `left` is what the pod
    /// served before.
    pub fn doubt(&self, left: Option<&Left>, now: Timestamp) -> Option<(Behind, Timestamp)> {
        let current = self.0.first()?;
        let is_current = |change: &Change| change.revision == current.revision;
        let put_back = self.0.iter().take_while(|change| is_current(change)).count();
        let older = &self.0[put_back..];
        let between = &older[..older.iter().position(is_current)?];
        let first = between.last()?;
        let is_served = |left: &Left| between.iter().any(|change| left.revision.starts_with(&change.revision));
        // Within that second it may have been an earlier one of the same content.
        let has_left =
            left.is_some_and(|left| left.seen_at.duration_since(first.published_at) >= PRECISION && is_served(left));
        let is_recent = now.duration_since(current.published_at).unsigned_abs() < SETTLED;
        (is_recent && !has_left).then(|| (self.behind(put_back + between.len()), current.published_at))
    }

    /// Whose access the latest revisions changed, of as many as that.
    fn behind(&self, revisions: usize) -> Behind {
        let changed = |change: &Change| change.clients.clone().map_or(Behind::Anybody, Behind::Only);
        self.0[..revisions].iter().map(changed).fold(Behind::Nobody, Behind::and)
    }

    /// Every client that one of the revisions names.
    pub fn clients(&self) -> impl Iterator<Item = &ClientId> {
        self.0.iter().flat_map(|change| change.clients.iter().flatten())
    }

    pub fn is_current(&self, revision: &Revision) -> bool {
        self.0.first().is_some_and(|current| current.revision == revision.short())
    }

    fn first(revision: &Revision, clients: Option<BTreeSet<ClientId>>, now: Timestamp) -> Self {
        let revision = revision.short().to_owned();
        Self(vec![Change { revision, published_at: whole_seconds(now), clients }])
    }

    /// With the older ones, as far as there is room for them.
    fn followed_by(mut self, older: &[Change]) -> Self {
        self.0.extend(older.iter().take(MAX_REVISIONS - 1).cloned());
        while self.text().len() > MAX_BYTES {
            match self.0.as_mut_slice() {
                [only] => only.clients = None,
                _ => drop(self.0.pop()),
            }
        }
        self
    }
}

/// The ids whose entries are not the same in both.
pub fn changed<T: PartialEq>(before: &[T], after: &[T], id: impl Fn(&T) -> &ClientId) -> BTreeSet<ClientId> {
    let known: BTreeMap<&ClientId, &T> = before.iter().map(|entry| (id(entry), entry)).collect();
    let kept: BTreeSet<&ClientId> = after.iter().map(&id).collect();
    let written = after.iter().filter(|entry| known.get(id(entry)) != Some(entry)).map(&id);
    let removed = before.iter().map(&id).filter(|id| !kept.contains(id));
    written.chain(removed).cloned().collect()
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests;
