//! The Helm chart as helm renders it, with the values of each file in `charts/portcullis/ci/`. Nothing here needs a cluster.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod conformance;
mod helm;
mod privileges;
mod score;
mod values;

use serde_json::{Value, json};

use helm::{CHART, Run, files_of_values, helm};

#[test]
fn helm_finds_no_fault_in_the_chart() {
    for file in files_of_values() {
        let Run { succeeded, text } = helm(&["lint", "--strict", "--values", &file, CHART]);
        assert!(succeeded, "{file}: {text}");
    }
}

#[test]
fn the_chart_has_the_version_of_the_operator() {
    let chart: Value = serde_yaml::from_str(&std::fs::read_to_string(format!("{CHART}/Chart.yaml")).unwrap()).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(json!([chart["version"], chart["appVersion"]]), json!([version, version]));
}
