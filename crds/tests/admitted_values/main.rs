//! Whatever the CustomResourceDefinitions admit, the types decode: values are generated from the schemas, at their limits.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod generate;

use portcullis_crds::{McpClientSpec, McpServerSpec};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;

use generate::{admitted, spec_schema};

fn decodes<S: DeserializeOwned>(value: &Value) -> Result<(), TestCaseError> {
    let text = value.to_string();
    let decoded = serde_path_to_error::deserialize::<_, S>(&mut serde_json::Deserializer::from_str(&text));
    decoded.map(drop).map_err(|error| TestCaseError::fail(format!("{}: {error}", error.path())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_client_that_the_schema_admits_is_decoded(spec in admitted(&spec_schema("mcpclients.yaml"))) {
        decodes::<McpClientSpec>(&spec)?;
    }

    #[test]
    fn every_server_that_the_schema_admits_is_decoded(spec in admitted(&spec_schema("mcpservers.yaml"))) {
        decodes::<McpServerSpec>(&spec)?;
    }
}
