//! The reference pages of the audit log and the metrics are printed from the vocabularies in the code, so that they cannot be
//! out of date.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write;

use portcullis_server::{
    audit::vocabulary::{Event, vocabularies},
    metrics::Metric,
};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/");

const AUDIT: &str = "# The audit log

This page is printed from the code by `make generate`. The log is on standard output, or where `--audit-log` says, one JSON object a line. Each record has
`time`, `level`, `event`, `seq` and `instance`. `seq` increases by one with each record of an instance, so that a gap proves that
records were lost. Program logs are between the records, without `event` and `seq`.

A call has two records with the same `executionId`: `tool_call_start` before its backend is called (if the tool writes, the
backend is called once the record is written), and `tool_call_success` or `tool_call_error` however the call ends. The
second is written when the caller was sent the whole answer; if the answer was given up, because the caller is gone or read it too
slowly, it has `\"delivered\": false`. `durationMs` is the time from the start to the outcome. Of equal
records that do not belong to a call, the first ten in a second are written one by one, and the rest of that second as one
record with a `count`.

No record has the value of an argument (except those that a tool lists in `audit.values`), a result, a key, the name of an
unknown tool, or a text of a backend. `args` has the names, types and sizes of the declared arguments. `argsDigest` is an HMAC-SHA-256
of all arguments under a key of this server: equal calls have equal digests. `keyId` is the id of the API key. The peer's address
is in `auth_failed` only. Requests that are refused by their path, method, `Host` or `Origin`, before anything is known of their
sender, are not recorded.
";

const METRICS: &str = "# The metrics

This page is printed from the code by `make generate`. `/metrics` on the admin port has these series for Prometheus. All values of
a label are listed here, or are the names of the policy's tools, so that the number of series is bounded. Except those of tools,
all series exist from the start, with the value 0.
";

fn audit() -> String {
    let mut page = AUDIT.to_owned();
    page.push_str("\n## Events\n\n| `event` | `level` | meaning |\n|---|---|---|\n");
    for event in Event::ALL {
        let (word, level, sentence) = (event.as_str(), event.level(), event.sentence());
        writeln!(page, "| `{word}` | {level} | {sentence} |").unwrap();
    }
    for vocabulary in vocabularies() {
        // The events themselves are in the table above.
        let Some(event) = vocabulary.event else { continue };
        write_words(&mut page, vocabulary.field, event.as_str(), &vocabulary.words);
    }
    page
}

fn metrics() -> String {
    let mut page = METRICS.to_owned();
    page.push_str("\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in Metric::ALL {
        let labels: Vec<_> = metric.labels().iter().map(|label| format!("`{}`", label.name)).collect();
        let (name, kind, sentence) = (metric.name(), format!("{:?}", metric.kind()).to_lowercase(), metric.sentence());
        writeln!(page, "| `{name}` | {kind} | {} | {sentence} |", labels.join(", ")).unwrap();
    }
    for metric in Metric::ALL {
        for label in metric.labels().iter().filter(|label| !label.values.is_empty()) {
            write_words(&mut page, label.name, &metric.name(), &label.values);
        }
    }
    page
}

fn write_words(page: &mut String, name: &str, of: &str, words: &[(&str, &str)]) {
    write!(page, "\n## `{name}` of `{of}`\n\n| word | meaning |\n|---|---|\n").unwrap();
    for (word, sentence) in words {
        writeln!(page, "| `{word}` | {sentence} |").unwrap();
    }
}

/// `make generate` sets the variable, which writes the pages.
#[test]
fn the_pages_list_the_words_of_the_code() {
    for (name, page) in [("audit.md", audit()), ("metrics.md", metrics())] {
        let path = format!("{DOCS}{name}");
        if std::env::var_os("PORTCULLIS_GENERATE").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(file, page, "docs/{name} is out of date: run `make generate`");
    }
}
