//! Every word that the server can say in its audit log and its metrics is provoked over the wire by a scenario. A new word
//! without a scenario fails here, and so does a scenario whose word is never said.

mod outcomes;
mod refusals;
mod scenarios;

use std::collections::BTreeSet;

use futures::future::join_all;
use portcullis_server::audit::vocabulary::{Vocabulary, vocabularies};
use portcullis_tests::http::Request;
use portcullis_tests::server::TestServer;
use portcullis_tests::{PATIENCE, until};

use crate::fixtures::*;
use scenarios::SCENARIOS;

/// Words that nothing provokes over the wire, each with the reason.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("event=limits_unavailable", "the only store of limits is in memory, which is always available"),
    ("responses.status=other", "it counts statuses that are not documented, of which none is sent"),
    ("tool_calls.outcome=unavailable", "the only store of limits is in memory, which is always available"),
    ("tool_access_denied.reason=not_admitted", "no kind of credential narrows the tools of its client"),
];

/// A field of the log and one of its words: `event=WORD`, or `EVENT.FIELD=WORD`.
fn in_log(vocabulary: &Vocabulary, word: &str) -> String {
    let field = vocabulary.field;
    vocabulary.event.map_or_else(|| format!("{field}={word}"), |event| format!("{}.{field}={word}", event.as_str()))
}

/// The labels of the counters in a page of metrics whose value is as wanted: `COUNTER.LABEL=WORD`.
fn in_metrics(page: &str, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Some((name, labels)) = series.strip_prefix("portcullis_").and_then(|rest| rest.split_once('{')) else {
            continue;
        };
        for label in ["outcome", "status"] {
            let word = labels.split_once(&format!("{label}=\"")).and_then(|(_, rest)| rest.split('"').next());
            if let Some(word) = word.filter(|_| is_wanted(value)) {
                words.insert(format!("{}.{label}={word}", name.trim_end_matches("_total")));
            }
        }
    }
    words
}

/// Every word that this server has said.
async fn said(server: &TestServer) -> BTreeSet<String> {
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
        words.extend(in_metrics(&page.text(), |value| value != "0"));
    }
    words
}

#[tokio::test]
async fn every_word_has_a_scenario() {
    let server = start(&document(NOWHERE)).await;
    // Counters are there from the start, with the value 0.
    let page = server.admin("/metrics").await.unwrap().text();
    let mut words = in_metrics(&page, |_| true);
    for vocabulary in vocabularies() {
        words.extend(vocabulary.words.iter().map(|(word, _)| in_log(&vocabulary, word)));
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
async fn every_scenario_provokes_its_words() {
    join_all(SCENARIOS.iter().map(async |scenario| {
        let server = (scenario.run)().await;
        until(PATIENCE, async || {
            let said = said(&server).await;
            let missing: Vec<_> = scenario.words.iter().filter(|word| !said.contains(**word)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{}: {missing:?} not in {said:?}", scenario.what)) }
        })
        .await;
    }))
    .await;
}

async fn send_all(server: &TestServer, requests: impl IntoIterator<Item = Request>) {
    for request in requests {
        server.send(&request).await.unwrap();
    }
}
