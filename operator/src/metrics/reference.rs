//! The reference page of the metrics, printed from the vocabulary.

use std::fmt::Write;

use super::Metric;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operator-metrics.md");

const HEAD: &str = "# The metrics of the operator

This page is printed from the code by `make generate`. `portcullis-operator run` serves these series for Prometheus at `/metrics`
([operator.md](operator.md#probes-and-metrics)); those of the servers are in [metrics.md](metrics.md). All values of a label are
listed here, so that the number of series is bounded, and no name of an object is among them. The series of requests, watches and
skipped objects begin to exist when they are first counted; all others exist from the start.

| alert on | because |
|---|---|
| `portcullis_operator_without_lease == 1` | nothing keeps a second operator away: apply `operator/rbac.yaml` |
| `increase(portcullis_operator_task_restarts_total[10m]) > 0` | the operator made a mistake, which the log has: report it |
| `portcullis_operator_queue_oldest_seconds{lane=\"removals\"} > 10` | access is taken away late: see the log and `portcullis_operator_api_requests_total` |
| `histogram_quantile(0.99, rate(portcullis_operator_publication_confirmed_seconds_bucket[10m])) > 60` | pods do not load their policy: `PolicySynced` of the McpServer names them |
| `rate(portcullis_operator_reconciles_total{result=~\"failed\\|refused\\|timeout\\|panicked\"}[10m])` that does not cease | something cannot be written: `Ready` of the object and the log say what |
| `portcullis_operator_undecodable_objects > 0` | a resource was written past the schema: its `Accepted` names the field |
| `rate(portcullis_operator_api_requests_total{code!~\"2xx\\|404\\|409\"}[5m])` | the API server refuses or is away; `code` says which |
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in Metric::ALL {
        let labels: Vec<_> = metric.labels().iter().map(|(name, _)| format!("`{name}`")).collect();
        let (name, kind, sentence) = (metric.name(), format!("{:?}", metric.kind()).to_lowercase(), metric.sentence());
        writeln!(page, "| `{name}` | {kind} | {} | {sentence} |", labels.join(", ")).unwrap();
    }
    // Several metrics share a label.
    let mut printed = Vec::new();
    for label in Metric::ALL.iter().flat_map(|metric| metric.labels()) {
        if printed.contains(&label) {
            continue;
        }
        write!(page, "\n## `{}`\n\n| word | meaning |\n|---|---|\n", label.0).unwrap();
        label.1.iter().for_each(|(word, sentence)| writeln!(page, "| `{word}` | {sentence} |").unwrap());
        printed.push(label);
    }
    page
}

/// `make generate` sets the variable, which writes the page.
#[test]
fn the_page_lists_the_words_of_the_code() {
    let page = page();
    if std::env::var_os("PORTCULLIS_GENERATE").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let file = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert_eq!(file, page, "docs/operator-metrics.md is out of date: run `make generate`");
}
