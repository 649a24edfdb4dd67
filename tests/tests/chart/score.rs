//! kube-score has nothing to say of the chart. Its exceptions are in the templates, each with its reason.

use crate::helm::{Run, files_of_values, rendered_text, run};

#[test]
fn kube_score_finds_nothing() {
    for file in files_of_values() {
        let Run { succeeded, text } = score(&rendered_text(&file));
        assert!(succeeded, "{file}: {text}");
    }
}

#[test]
fn without_their_reasons_the_exceptions_are_found() {
    let text = rendered_text(&files_of_values()[0]).replace("kube-score/ignore", "kube-score/ignored");
    let Run { succeeded, text } = score(&text);
    assert!(!succeeded);
    for check in ["ImagePullPolicy", "CPU limit", "NetworkPolicy", "few replicas", "update strategy"] {
        assert!(text.contains(check), "{check}: {text}");
    }
}

fn score(text: &str) -> Run {
    run("kube-score", &["score", "--exit-one-on-warning", "--output-format", "ci", "-"], text)
}
