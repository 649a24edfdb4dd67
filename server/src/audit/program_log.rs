//! Program logs, in the same form and through the same writer: messages about the server, for its operators.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::layer::{Context, Layer};

use super::queue::Queue;
use crate::protocol::json::push_string;

/// Writes `tracing` events as JSON lines through the audit log's writer.
pub struct ProgramLog {
    queue: Arc<Queue>,
    own: LevelFilter,
    libraries: LevelFilter,
}

impl ProgramLog {
    pub(super) fn new(queue: Arc<Queue>, level: Level) -> Self {
        let own = LevelFilter::from_level(level);
        Self { queue, own, libraries: own.min(LevelFilter::WARN) }
    }

    fn is_logged(&self, metadata: &Metadata<'_>) -> bool {
        let most = if metadata.target().starts_with("portcullis") { self.own } else { self.libraries };
        *metadata.level() <= most
    }
}

impl<S: Subscriber> Layer<S> for ProgramLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.is_logged(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.own)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !self.is_logged(event.metadata()) {
            return;
        }
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut body = b",\"target\":".to_vec();
        push_string(&mut body, event.metadata().target());
        event.record(&mut Fields(&mut body));
        self.queue.push_log(level, &body);
    }
}

struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn json(&mut self, field: &Field, json: &dyn fmt::Display) {
        self.0.push(b',');
        push_string(self.0, field.name());
        self.0.extend_from_slice(format!(":{json}").as_bytes());
    }

    fn text(&mut self, field: &Field, text: &str) {
        self.0.push(b',');
        push_string(self.0, field.name());
        self.0.push(b':');
        push_string(self.0, text);
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.json(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.json(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.json(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_ok() {
            self.text(field, &text);
        }
    }
}
