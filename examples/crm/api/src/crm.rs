//! The data of the CRM and the queries on it. Everything except the notes is generated once, by `generate`, and never changes. The
//! number of notes per contact is bounded, so that a test may write any number of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::generate;

/// How many notes are kept of one contact; older ones are dropped.
const NOTES_PER_CONTACT: usize = 200;

/// A person at a company.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// `c-` followed by four digits.
    pub id: String,
    pub name: String,
    pub email: String,
    pub company: String,
    pub title: String,
    pub city: String,
    pub customer_since: String,
}

/// An entry in the history of a contact.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryEntry {
    pub at: String,
    pub kind: String,
    pub summary: String,
}

/// A note about a contact.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    pub id: u64,
    pub contact_id: String,
    pub text: String,
    pub created_at: String,
}

/// The stage of a deal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Lead,
    Qualified,
    Proposal,
    Won,
    Lost,
}

impl Stage {
    pub const ALL: [Self; 5] = [Self::Lead, Self::Qualified, Self::Proposal, Self::Won, Self::Lost];

    /// Its name in URLs and responses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Qualified => "qualified",
            Self::Proposal => "proposal",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

/// A sale that is planned or closed. The amount is in euros.
#[derive(Clone, Debug, PartialEq)]
pub struct Deal {
    pub stage: Stage,
    pub amount: u64,
}

/// All deals of one stage. The amount is in euros.
#[derive(Debug, PartialEq, Serialize)]
pub struct StageSummary {
    pub stage: Stage,
    pub count: usize,
    pub amount: u64,
}

/// One month's revenue, in euros. The month is `YYYY-MM`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revenue {
    pub month: String,
    pub amount: u64,
    pub invoices: u32,
    pub currency: &'static str,
}

/// The figures of the dashboard.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    pub contacts: usize,
    pub companies: usize,
    pub notes: usize,
    pub open_deals: usize,
    pub open_amount: u64,
    pub win_rate_percent: usize,
    pub revenue_last_month: u64,
    pub revenue_month_before: u64,
    pub currency: &'static str,
}

/// The whole CRM.
pub struct Crm {
    pub data: generate::Data,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    written: u64,
    by_contact: HashMap<String, VecDeque<Note>>,
}

impl Crm {
    pub fn new() -> Self {
        Self { data: generate::data(), notes: Mutex::default() }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first `limit` contacts whose name, e-mail address or company contains `query` (ignoring case), and the number of all
    /// matches.
    pub fn search(&self, query: &str, limit: usize) -> (Vec<&Contact>, usize) {
        let query = query.to_lowercase();
        let found = self.data.contacts.iter().filter(|contact| {
            [&contact.name, &contact.email, &contact.company].iter().any(|text| text.to_lowercase().contains(&query))
        });
        let found: Vec<_> = found.collect();
        let total = found.len();
        (found.into_iter().take(limit).collect(), total)
    }

    fn has_contact(&self, contact: &str) -> bool {
        self.data.history.contains_key(contact)
    }

    /// The history of a contact with its notes, newest first; `None` if the contact does not exist.
    pub fn history(&self, contact: &str, limit: usize) -> Option<Vec<HistoryEntry>> {
        let history = self.data.history.get(contact)?;
        let notes = self.notes();
        let note_entries = notes.by_contact.get(contact).into_iter().flatten().rev().map(|note| HistoryEntry {
            at: note.created_at.clone(),
            kind: "note".to_owned(),
            summary: note.text.clone(),
        });
        Some(note_entries.chain(history.iter().cloned()).take(limit).collect())
    }

    /// Adds a note; `None` if the contact does not exist.
    pub fn add_note(&self, contact: &str, text: String) -> Option<Note> {
        if !self.has_contact(contact) {
            return None;
        }
        let mut notes = self.notes();
        notes.written += 1;
        let note = Note {
            id: notes.written,
            contact_id: contact.to_owned(),
            text,
            created_at: format!("{:.0}", Timestamp::now()),
        };
        let kept = notes.by_contact.entry(contact.to_owned()).or_default();
        if kept.len() == NOTES_PER_CONTACT {
            kept.pop_front();
        }
        kept.push_back(note.clone());
        Some(note)
    }

    /// The deals of each stage, or of one stage.
    pub fn deals(&self, only: Option<Stage>) -> Vec<StageSummary> {
        let mut stages: BTreeMap<Stage, (usize, u64)> = BTreeMap::new();
        for deal in &self.data.deals {
            let (count, amount) = stages.entry(deal.stage).or_default();
            *count += 1;
            *amount += deal.amount;
        }
        let summary = |(stage, (count, amount))| StageSummary { stage, count, amount };
        stages.into_iter().filter(|(stage, _)| only.is_none_or(|only| only == *stage)).map(summary).collect()
    }

    /// The months from `from` to `to`, both included; `YYYY-MM` sorts as text.
    pub fn revenue(&self, from: Option<&str>, to: Option<&str>) -> Vec<&Revenue> {
        let within = |month: &str| from.is_none_or(|from| from <= month) && to.is_none_or(|to| month <= to);
        self.data.revenue.iter().filter(|revenue| within(&revenue.month)).collect()
    }

    pub fn metrics(&self) -> Metrics {
        let count = |stage| self.data.deals.iter().filter(|deal| deal.stage == stage).count();
        let open = |deal: &&Deal| !matches!(deal.stage, Stage::Won | Stage::Lost);
        let (won, lost) = (count(Stage::Won), count(Stage::Lost));
        let mut months = self.data.revenue.iter().rev().map(|revenue| revenue.amount);
        Metrics {
            contacts: self.data.contacts.len(),
            companies: self.data.contacts.iter().map(|contact| &contact.company).collect::<BTreeSet<_>>().len(),
            notes: self.notes().by_contact.values().map(VecDeque::len).sum(),
            open_deals: self.data.deals.iter().filter(open).count(),
            open_amount: self.data.deals.iter().filter(open).map(|deal| deal.amount).sum(),
            win_rate_percent: 100 * won / (won + lost).max(1),
            revenue_last_month: months.next().unwrap_or_default(),
            revenue_month_before: months.next().unwrap_or_default(),
            currency: generate::CURRENCY,
        }
    }
}
