//! The program logs of the operator and of the server, which are alike: each message is one JSON object with `time`, `level`, `target`,
//! `message` and the fields of the message. Where the lines go, and the time, are left to each program.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

use jiff::Timestamp;
use serde::Serialize;
use tracing::{
    Event, Level, Metadata,
    field::{Field, Visit},
    level_filters::LevelFilter,
};

/// The client of the API server reports what that refuses. The operator logs it once, with what was being done.
const SILENT: [&str; 2] = ["kube_client", "kube_runtime"];

/// Which messages are logged: those of Portcullis from a level on, and those of libraries from warnings on.
#[derive(Clone, Copy, Debug)]
pub struct Threshold {
    own: LevelFilter,
    libraries: LevelFilter,
}

impl Threshold {
    pub fn new(level: Level) -> Self {
        let own = LevelFilter::from_level(level);
        Self { own, libraries: own.min(LevelFilter::WARN) }
    }

    pub fn admits(self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let most = match target.starts_with("portcullis") {
            true => self.own,
            false if SILENT.iter().any(|silent| target.starts_with(silent)) => return false,
            false => self.libraries,
        };
        *metadata.level() <= most
    }

    /// The level of the most verbose messages.
    pub fn most_verbose(self) -> LevelFilter {
        self.own
    }
}

/// A level as a word.
pub fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The line of a message, with its line feed. The time is RFC 3339 in UTC with microseconds.
pub fn line(time: Timestamp, event: &Event<'_>) -> Vec<u8> {
    let (time, level) = (time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"), word(*event.metadata().level()));
    let mut line = format!(r#"{{"time":"{time}","level":"{level}""#).into_bytes();
    push_fields(event, &mut line);
    line.extend_from_slice(b"}\n");
    line
}

/// Appends the target and the fields of a message as members of an object, each after a comma.
pub fn push_fields(event: &Event<'_>, out: &mut Vec<u8>) {
    push(out, "target", event.metadata().target());
    event.record(&mut Fields(out));
}

fn push(out: &mut Vec<u8>, name: &str, value: impl Serialize) {
    // Cannot fail: neither texts and numbers nor writing to memory can.
    let _ = out.write_all(b",").and_then(|()| Ok(serde_json::to_writer(&mut *out, name)?));
    let _ = out.write_all(b":").and_then(|()| Ok(serde_json::to_writer(&mut *out, &value)?));
}

struct Fields<'a>(&'a mut Vec<u8>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        push(self.0, field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        push(self.0, field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        push(self.0, field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        push(self.0, field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_ok() {
            push(self.0, field.name(), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::{Subscriber, span};

    use super::*;

    /// Keeps the lines that a threshold admits.
    struct Kept(Threshold, Arc<Mutex<Vec<Value>>>);

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            self.0.admits(metadata)
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            let time = "2026-11-23T16:05:50.120Z".parse().unwrap();
            let line = line(time, event);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            self.1.lock().unwrap().push(serde_json::from_slice(&line).unwrap());
        }

        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    fn logged(level: Level, log: impl FnOnce()) -> Vec<Value> {
        let lines = Arc::default();
        tracing::subscriber::with_default(Kept(Threshold::new(level), Arc::clone(&lines)), log);
        let lines = lines.lock().unwrap();
        lines.clone()
    }

    #[test]
    fn a_message_is_one_line_of_json_with_its_fields() {
        let found = logged(Level::INFO, || {
            tracing::warn!(target: "portcullis_operator::x", server = %"sales/crm", error = "a \"b\"\nc", retryIn = ?std::time::Duration::from_millis(1_500), clients = 3, isDone = false, left = -1_i64, "cannot {}", "write");
        });
        assert_eq!(
            found,
            [json!({"time": "2026-11-23T16:05:50.120000Z", "level": "warn", "target": "portcullis_operator::x",
                "message": "cannot write", "server": "sales/crm", "error": "a \"b\"\nc", "retryIn": "1.5s", "clients": 3,
                "isDone": false, "left": -1})]
        );
    }

    #[test]
    fn libraries_are_logged_from_warnings_on_and_the_client_of_the_api_server_never() {
        let log = || {
            tracing::debug!(target: "portcullis_server", "own debug");
            tracing::info!(target: "portcullis_operator::cluster", "own info");
            tracing::error!(target: "portcullis_crds", "own error");
            tracing::info!(target: "hyper", "library info");
            tracing::warn!(target: "hyper", "library warn");
            tracing::error!(target: "kube_client::client", "client error");
            tracing::error!(target: "kube_runtime", "runtime error");
        };
        for (level, expected) in [
            (Level::DEBUG, &["own debug", "own info", "own error", "library warn"][..]),
            (Level::INFO, &["own info", "own error", "library warn"]),
            (Level::ERROR, &["own error"]),
        ] {
            let found: Vec<_> = logged(level, log).iter().map(|line| line["message"].clone()).collect();
            assert_eq!(found, expected, "{level}");
        }
    }
}
