//! The reference page of the audit log is printed from the vocabularies in the code, so that it cannot be out of date.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write;

use portcullis_server::audit::vocabulary::{Event, vocabularies};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/audit.md");

const INTRODUCTION: &str = "# The audit log

This page is printed from the code by `make generate`. The log is on standard output, one JSON object a line. Each record has
`time`, `level`, `event`, `seq` and `instance`. `seq` increases by one with each record of an instance, so that a gap proves that
records were lost. Program logs are between the records, without `event` and `seq`.

A call has two records with the same `executionId`: `tool_call_start` before its backend is called (if the tool writes, the
backend is called once the record is written), and `tool_call_success` or `tool_call_error` however the call ends. Of equal
records that do not belong to a call, the first ten in a second are written one by one, and the rest of that second as one
record with a `count`.

No record has the value of an argument (except those that a tool lists in `audit.values`), a result, a key, the name of an
unknown tool, or a text of a backend. `args` has the names and types of the declared arguments. `argsDigest` is an HMAC-SHA-256
of all arguments under a key of this server: equal calls have equal digests. `keyId` is the id of the API key. The peer's address
is in `auth_failed` only.
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Events\n\n| `event` | `level` | meaning |\n|---|---|---|\n");
    for event in Event::ALL {
        let (word, level, sentence) = (event.as_str(), event.level(), event.sentence());
        writeln!(page, "| `{word}` | {level} | {sentence} |").unwrap();
    }
    for vocabulary in vocabularies() {
        // The events themselves are in the table above.
        let Some(event) = vocabulary.event else { continue };
        let (field, event) = (vocabulary.field, event.as_str());
        write!(page, "\n## `{field}` of `{event}`\n\n| word | meaning |\n|---|---|\n").unwrap();
        for (word, sentence) in vocabulary.words {
            writeln!(page, "| `{word}` | {sentence} |").unwrap();
        }
    }
    page
}

/// `make generate` sets the variable, which writes the page.
#[test]
fn the_page_lists_the_words_of_the_code() {
    if std::env::var_os("PORTCULLIS_GENERATE").is_some() {
        std::fs::write(PAGE, page()).unwrap();
    }
    let file = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert_eq!(file, page(), "docs/audit.md is out of date: run `make generate`");
}
