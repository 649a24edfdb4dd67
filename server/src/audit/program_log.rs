//! Program logs, through the same writer as the records: messages about the server, for its operators.

use std::sync::Arc;

use portcullis_crds::program_log::{self, Threshold};
use tracing::{Event, Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::layer::{Context, Layer};

use super::queue::Queue;

/// Writes `tracing` events as JSON lines through the audit log's writer.
pub struct ProgramLog {
    queue: Arc<Queue>,
    threshold: Threshold,
}

impl ProgramLog {
    pub(super) fn new(queue: Arc<Queue>, level: Level) -> Self {
        Self { queue, threshold: Threshold::new(level) }
    }
}

impl<S: Subscriber> Layer<S> for ProgramLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.threshold.admits(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.threshold.most_verbose())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.threshold.admits(event.metadata()) {
            let mut body = Vec::new();
            program_log::push_fields(event, &mut body);
            self.queue.push_log(program_log::word(*event.metadata().level()), &body);
        }
    }
}
