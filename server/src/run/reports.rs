//! What the server reports about itself: reloads, and the level of the program log.

use portcullis_crds::contract::OnOverflow;
use tracing_subscriber::{
    Layer, Registry,
    layer::SubscriberExt,
    reload,
    util::{SubscriberInitExt, TryInitError},
};

use crate::{
    audit::{
        Audit, ProgramLog,
        record::{Document, Record},
    },
    config::{Change, Reload},
    metrics::{Metrics, ReloadOutcome},
};

/// Records an event of the server itself. It is taken even while the log is blocked.
pub fn record(audit: &Audit, record: &Record<'_>) {
    let _ = audit.record(record, OnOverflow::Refuse);
}

/// Reports reloads to the audit log, the metrics and the program log.
pub struct Reloads {
    pub audit: Audit,
    pub metrics: Metrics,
    pub log: Log,
}

impl Reloads {
    pub fn report(&self, reload: Reload) {
        for (document, change) in [(Document::Policy, &reload.policy), (Document::Credentials, &reload.credentials)] {
            if let Some(refused) = &change.refused {
                self.metrics.reloaded(ReloadOutcome::Refused);
                record(&self.audit, &Record::PolicyRefused { document, field: &refused.field });
                tracing::error!(%document, error = %refused.message, "{}", refusal(change));
            }
        }
        if !reload.notes.is_empty() {
            tracing::warn!(findings = %reload.notes, "a check refuses this policy, and it is in force nevertheless");
        }
        let Some(snapshot) = reload.swapped else { return };
        self.metrics.reloaded(ReloadOutcome::Loaded);
        self.log.set_level(&self.audit, snapshot.log_level.as_str());
        record(
            &self.audit,
            &Record::PolicyLoaded {
                revision: &snapshot.revision,
                credentials_revision: snapshot.credentials_revision.as_deref(),
                tools: snapshot.tools.by_name.len(),
                clients: snapshot.clients,
            },
        );
    }
}

fn refusal(change: &Change) -> &'static str {
    if change.is_loaded {
        "parts of a document were refused; nothing new that depends on them is granted"
    } else {
        "a document was refused; the last valid one stays in force"
    }
}

/// The program log. Its level is the policy's, unless the command line fixes one.
pub struct Log {
    fixed: Option<tracing::Level>,
    handle: reload::Handle<ProgramLog, Registry>,
}

impl Log {
    /// # Errors
    /// Returns an error if this process has a program log already.
    pub fn start(audit: &Audit, fixed: Option<tracing::Level>) -> Result<Self, TryInitError> {
        let (layer, handle) = reload::Layer::new(audit.program_log(fixed.unwrap_or(tracing::Level::INFO)));
        tracing_subscriber::registry().with(layer.boxed()).try_init()?;
        Ok(Self { fixed, handle })
    }

    fn set_level(&self, audit: &Audit, level: &str) {
        if self.fixed.is_none()
            && let Ok(level) = level.parse()
        {
            // It fails only if there is no subscriber any more, and so no log.
            let _ = self.handle.reload(audit.program_log(level));
        }
    }
}
