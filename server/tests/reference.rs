//! The reference pages of the audit log and the metrics are printed from the vocabularies in the code, so that they cannot be
//! out of date.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write;

use portcullis_server::{
    audit::{
        fields::{Field, FieldsOfEvent},
        vocabulary::{Event, vocabularies},
    },
    metrics::Metric,
};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/");

const AUDIT: &str = "# The audit log

This page is printed from the code by `make generate`. The log is on standard output, or where `--audit-log` says, one JSON object a
line. A line with `event` is a record; a line without is of the program log, and has a `message`
([operator.md](operator.md#logs) says more about that).

* **A call** has two records with the same `executionId`. `tool_call_start` is written before the backend is called; if the tool
  writes, the backend is called once the record is written out. `tool_call_success` or `tool_call_error` follows however the call ends,
  when the whole answer was sent or given up. A start without an end means that the outcome is unknown.
* **A refusal** has one record. Only what is refused by its path, method, `Host` or `Origin`, before anything is known of its sender,
  has none.
* **Nothing is missing** if `seq` has no gap within an `instance`.
* **Equal records** that do not belong to a call are written one by one up to ten in a second; the rest of that second is one record
  with a `count`.
* **No record contains** the value of an argument (except those that a tool lists in `audit.values`), a result, a key, the name of an
  unknown tool, or a text of a backend.

[server.md](server.md#matching-an-answer-a-record-and-a-request) says how to match an answer, its records and the request of the
backend.

## Questions

```sh
kubectl logs -n sales -l app.kubernetes.io/instance=crm --tail=-1 | jq -c 'select(.event)' > log

jq -c 'select(.executionId == \"crm-6d9f-1a2b3c4d-17\")' log                  # one call
jq -c 'select(.traceId == \"4bf92f3577b34da6a3ce929d0e0e4736\")' log          # all calls of a trace
jq -c 'select(.clientId == \"reporting-agent\" and .level != \"info\")' log     # what failed for a client, and why
jq -r 'select(.event == \"tool_call_error\") | .toolName + \" \" + .error' log | sort | uniq -c | sort -n
jq -s 'map(select(.durationMs)) | sort_by(-.durationMs)[:10]' log            # the slowest calls
```
";

const EVENTS: &str = "
## Events

Every record has `time`, `level`, `event`, `seq` and `instance`. Fields with `?` are in some records of the event only.

| `event` | `level` | meaning | further fields |
|---|---|---|---|
";

const FIELDS: &str = "
## Fields

| field | contains |
|---|---|
";

const METRICS: &str = "# The metrics

This page is printed from the code by `make generate`. `/metrics` on the admin port has these series for Prometheus. All values of
a label are listed here, or are the names of the policy's tools, so that the number of series is bounded. Except those of tools,
all series exist from the start, with the value 0. Numbers start at 0 with each process.

| alert on | because |
|---|---|
| `portcullis_audit_blocked == 1` for a minute | records cannot be written, and calls are refused with 503, or their records lost |
| `increase(portcullis_audit_records_dropped_total[5m]) > 0` | records are lost for good |
| `portcullis_parts_refused > 0` for five minutes | the server serves an older or incomplete policy; `policy_refused` in the log names the field |
| the share of `outcome=\"error\"` in `rate(portcullis_tool_calls_total[5m])`, by `tool` | a backend fails; `error` of `tool_call_error` in the log says how ([audit.md](audit.md)) |
| `histogram_quantile(0.99, rate(portcullis_tool_call_duration_seconds_bucket[5m]))`, by `tool` | a backend is slow |
| `rate(portcullis_authentications_total{outcome!=\"success\"}[5m])` | a key was replaced and its client not told, or somebody guesses |
| `rate(portcullis_responses_total{status=~\"429\\|503\"}[5m])` | clients are over their limits; the server cannot serve |

## Metrics
";

fn audit() -> String {
    let mut page = AUDIT.to_owned() + EVENTS;
    for event in Event::ALL {
        let (word, level, sentence) = (event.as_str(), event.level(), event.sentence());
        let FieldsOfEvent { always, mut sometimes } = event.fields();
        sometimes.extend(event.is_counted().then_some(Field::Count));
        let always = always.iter().map(|field| format!("`{field}`"));
        let sometimes = sometimes.iter().map(|field| format!("`{field}`?"));
        let fields = always.chain(sometimes).collect::<Vec<_>>().join(" ");
        writeln!(page, "| `{word}` | {level} | {sentence} | {fields} |").unwrap();
    }
    for vocabulary in vocabularies() {
        // The events themselves are in the table above.
        let Some(event) = vocabulary.event else { continue };
        write!(page, "\n## `{}` of `{event}`\n\n", vocabulary.field).unwrap();
        page.push_str(match event {
            Event::ToolCallError => {
                "Also of a `tool_call_success` whose result is left out, because the call wrote.\n\n"
            }
            Event::ArgumentsRefused => {
                "A keyword of JSON Schema, or one of these. What the caller was told says the same in a sentence.\n\n"
            }
            _ => "",
        });
        page.push_str("| word | meaning | what to do |\n|---|---|---|\n");
        for ((word, sentence), remedy) in vocabulary.words.iter().zip(vocabulary.remedies) {
            writeln!(page, "| `{word}` | {sentence} | {remedy} |").unwrap();
        }
    }
    page.push_str(FIELDS);
    for field in Field::ALL {
        writeln!(page, "| `{field}` | {} |", field.sentence()).unwrap();
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
            write!(page, "\n## `{}` of `{}`\n\n| word | meaning |\n|---|---|\n", label.name, metric.name()).unwrap();
            for (word, sentence) in &label.values {
                writeln!(page, "| `{word}` | {sentence} |").unwrap();
            }
        }
    }
    page
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
