//! Every word that the server can write to its audit log and its metrics is provoked over the wire by a scenario. A new word
//! without a scenario fails a test, and so does a scenario that does not provoke its words.

mod outcomes;
mod refusals;
mod scenarios;

use std::collections::BTreeSet;

use futures::future::join_all;
use portcullis_server::audit::fields::{COMMON, Field, FieldsOfEvent};
use portcullis_server::audit::vocabulary::{Event, Vocabulary, vocabularies};
use portcullis_server::metrics::{Label, Metric};
use portcullis_tests::http::Request;
use portcullis_tests::server::TestServer;
use portcullis_tests::{PATIENCE, expect_eq, until};
use serde_json::Value;

use scenarios::SCENARIOS;

/// Words that nothing provokes over the wire, each with the reason.
const EXCEPTIONS: [(&str, &str); 9] = [
    ("arguments_refused.keyword=complexity", "it takes a check of seconds, which `checks` provokes"),
    ("arguments_refused.keyword=disconnected", "it takes a caller that leaves during such a check"),
    ("responses.status=other", "it counts statuses that are not documented, of which none is sent"),
    ("tool_call_error.error=cancelled", "no transport reports that its caller cancelled a call"),
    ("tool_calls.outcome=cancelled", "no transport reports that its caller cancelled a call"),
    ("tool_access_denied.reason=not_admitted", "no kind of credential narrows the tools of its client"),
    ("event=limits_unavailable", "the limits in memory are always available"),
    ("tool_calls.outcome=overloaded", "it takes 48 MiB of answers that several clients leave unread"),
    ("tool_calls.outcome=unavailable", "the limits in memory are always available"),
];

/// A field of the log and one of its words: `event=WORD`, or `EVENT.FIELD=WORD`.
fn in_log(vocabulary: &Vocabulary, word: &str) -> String {
    let field = vocabulary.field;
    vocabulary.event.map_or_else(|| format!("{field}={word}"), |event| format!("{}.{field}={word}", event.as_str()))
}

/// A metric and one of the words of its labels: `METRIC.LABEL=WORD`.
fn in_metrics(metric: Metric, label: &Label, word: &str) -> String {
    format!("{metric}.{}={word}", label.name)
}

/// The words of labels in a page of metrics, of the series that do not count zero.
fn counted(page: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for metric in Metric::ALL {
        let prefix = format!("{}{{", metric.name());
        let series = page.lines().filter(|line| line.starts_with(&prefix) && !line.ends_with(" 0"));
        for series in series {
            for label in metric.labels() {
                let value =
                    series.split_once(&format!("{}=\"", label.name)).and_then(|(_, rest)| rest.split('"').next());
                let word = label.values.iter().find(|(word, _)| Some(*word) == value);
                words.extend(word.map(|(word, _)| in_metrics(*metric, &label, word)));
            }
        }
    }
    words
}

/// Every word that this server has written.
async fn written_words(server: &TestServer) -> BTreeSet<String> {
    let records = server.log.records().unwrap();
    let mut words = BTreeSet::new();
    for vocabulary in vocabularies() {
        let event = vocabulary.event.map(|event| event.as_str());
        let records = records.iter().filter(|record| event.is_none_or(|event| record["event"] == event));
        let found = records.filter_map(|record| record[vocabulary.field].as_str());
        words.extend(found.map(|word| in_log(&vocabulary, word)));
    }
    // A server that has been stopped has no metrics.
    if let Ok(page) = server.admin("/metrics").await {
        words.extend(counted(&page.text()));
    }
    words
}

/// Fields that a scenario need not provoke, each with the reason.
const UNSEEN: [(Field, &str); 4] = [
    (Field::Delivered, "it depends on how much of an answer the system takes before its caller is gone"),
    (Field::Subject, "no kind of credential names a user"),
    (Field::ArgsValues, "no tool of these policies lists a value"),
    (Field::ArgsOmitted, "no tool of these policies has so many arguments"),
];

/// The fields of a record that is as documented; an error with those that it lacks, or has although they are not documented.
fn documented_fields(record: &Value) -> Result<BTreeSet<Field>, String> {
    let field = |word: &String| Field::ALL.iter().find(|field| field.as_str() == word).ok_or(word.clone());
    let found = record.as_object().unwrap().keys().map(field).collect::<Result<Vec<_>, _>>()?;
    let found: BTreeSet<Field> = found.into_iter().copied().collect();
    let event = Event::ALL.iter().find(|event| record["event"] == event.as_str()).ok_or("the event")?;
    let FieldsOfEvent { always, sometimes } = event.fields();
    let needed: BTreeSet<Field> = COMMON.into_iter().chain(always).collect();
    let count = event.is_counted().then_some(Field::Count);
    let allowed: BTreeSet<Field> = needed.iter().copied().chain(sometimes).chain(count).collect();
    let missing: Vec<_> = needed.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&allowed).collect();
    if missing.is_empty() && unknown.is_empty() { Ok(found) } else { Err(format!("{missing:?} {unknown:?}")) }
}

#[test]
fn every_word_has_a_scenario() {
    let mut words = BTreeSet::new();
    for vocabulary in vocabularies() {
        words.extend(vocabulary.words.iter().map(|(word, _)| in_log(&vocabulary, word)));
    }
    for metric in Metric::ALL {
        for label in metric.labels() {
            words.extend(label.values.iter().map(|(word, _)| in_metrics(*metric, &label, word)));
        }
    }
    for (exception, reason) in EXCEPTIONS {
        assert!(words.remove(exception), "{exception} is not a word: {reason}");
    }
    let provoked: BTreeSet<String> =
        SCENARIOS.iter().flat_map(|scenario| scenario.words).map(|&word| word.to_owned()).collect();
    let without_scenario: Vec<_> = words.difference(&provoked).collect();
    let without_word: Vec<_> = provoked.difference(&words).collect();
    assert_eq!((without_scenario, without_word), (Vec::new(), Vec::new()), "(without a scenario, not a word)");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_provokes_its_words_and_each_record_has_the_documented_fields() {
    let servers = join_all(SCENARIOS.iter().map(async |scenario| {
        let server = (scenario.run)().await;
        until(PATIENCE, async || {
            let written = written_words(&server).await;
            let missing: Vec<_> = scenario.words.iter().filter(|word| !written.contains(**word)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{}: {missing:?} not in {written:?}", scenario.what)) }
        })
        .await;
        server
    }))
    .await;
    let is_excepted = |field: &Field| UNSEEN.iter().any(|(excepted, _)| excepted == field);
    // A record may be written after the last word that its scenario is about.
    until(PATIENCE, async || {
        let seen = servers.iter().fold(BTreeSet::new(), |all, server| &all | &written_fields(server));
        let unseen: Vec<_> = Field::ALL.iter().filter(|field| !seen.contains(field) && !is_excepted(field)).collect();
        expect_eq(&unseen, &Vec::new())
    })
    .await;
}

/// Every field that this server has written; each record has those that are documented.
fn written_fields(server: &TestServer) -> BTreeSet<Field> {
    let records = server.log.records().unwrap();
    let records = records.iter().filter(|it| !it["event"].is_null());
    let fields = records.map(|record| documented_fields(record).unwrap_or_else(|why| panic!("{why}: {record}")));
    fields.fold(BTreeSet::new(), |all, fields| &all | &fields)
}

async fn send_all(server: &TestServer, requests: impl IntoIterator<Item = Request>) {
    for request in requests {
        server.send(&request).await.unwrap();
    }
}
