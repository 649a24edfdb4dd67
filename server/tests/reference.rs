//! The reference page of the audit log, printed from its vocabularies, so that it cannot be out of date.

use std::fmt::Write;

use portcullis_server::audit::record::{AuthFailure, ClientRefusal, Denial, Event, LimitName};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/audit.md");

const INTRODUCTION: &str = "# The audit log

Printed from the code by `make generate`. One JSON object a line, on standard output; each has `time`, `level`, `event`, `seq`
and `instance`. `seq` counts up by one for each record of an instance, so that a gap is provable. Program logs stand between the
records, without `event` and `seq`.

A call has two records with one `executionId`: `tool_call_start` before its backend is asked (for a tool that writes: written
out before), and `tool_call_success` or `tool_call_error` on every exit. Of equal records that belong to no call the
first ten in a second are written each, the rest of that second as one with a `count`.

No record holds a value of an argument (but those that a tool's `audit.values` names), a result, a key, the name of an unknown tool, or a backend's words. `args` are the
declared arguments' names and shapes, `argsDigest` is an HMAC-SHA-256 of the arguments under a key of this server: equal
calls have equal digests. `keyId` names the key. The peer's address is in `auth_failed` only.
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let events = Event::ALL.iter().map(|event| (event.as_str(), event.level(), event.sentence()));
    page.push_str("\n## Events\n\n| `event` | `level` | meaning |\n|---|---|---|\n");
    for (event, level, sentence) in events {
        writeln!(page, "| `{event}` | {level} | {sentence} |").expect("a string takes what is written to it");
    }
    let mut words = |title: &str, words: Vec<(&str, &str)>| {
        write!(page, "\n## {title}\n\n| word | meaning |\n|---|---|\n").expect("a string takes what is written to it");
        for (word, sentence) in words {
            writeln!(page, "| `{word}` | {sentence} |").expect("a string takes what is written to it");
        }
    };
    words("`reason` of `auth_failed`", AuthFailure::ALL.iter().map(|it| (it.as_str(), it.sentence())).collect());
    words("`reason` of `client_refused`", ClientRefusal::ALL.iter().map(|it| (it.as_str(), it.sentence())).collect());
    words("`reason` of `tool_access_denied`", Denial::ALL.iter().map(|it| (it.as_str(), it.sentence())).collect());
    words("`limit` of `rate_limit_exceeded`", LimitName::ALL.iter().map(|it| (it.as_str(), it.sentence())).collect());
    page
}

/// `make generate` sets the variable, and writes the page instead.
#[test]
fn the_page_is_what_the_vocabularies_say() {
    if std::env::var_os("PORTCULLIS_GENERATE").is_some() {
        std::fs::write(PAGE, page()).expect("the page must be writable");
    }
    let file = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert_eq!(file, page(), "run `make generate`: docs/audit.md is not what the code says");
}
