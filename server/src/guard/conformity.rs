//! Whether a result has the structured content that its tool declares: what clients are given, after its records were bounded.
//!
//! Clients take a result that does not conform for a failed call. So the answer of a tool that reads is an error then, which says what is
//! wrong; one that wrote keeps its text, and its structured content says that the call succeeded. A check takes as many steps as one
//! of arguments, and those that take long have their turn with them.

use portcullis_crds::{
    contract::Effect,
    schema::{Exhausted, Instance, OutputSchema, Steps},
};

use super::{
    answers::WITHIN,
    arguments::{AT_MOST, AT_ONCE},
    checks::Checks,
    records::{self, MaxRecords, Measured},
};
use crate::{
    backend::{Failure, Output},
    config::Tool,
    fingerprint::Fingerprint,
    protocol::strict,
};

/// Measures the result of an output with at most `max` records, and makes it conform. What is `large` is not checked on this thread.
///
/// # Errors
/// As [`records::measure`], and if the tool reads and its result does not conform.
pub(super) async fn measured(
    (tool, declared): (&Tool, &OutputSchema),
    (output, max, is_large): (Output, MaxRecords, bool),
    (checks, identity): (&Checks, Fingerprint),
) -> Result<(Output, Measured), Failure> {
    let at_once = match is_large {
        true => None,
        false => {
            let measured = records::measure(&output, tool.records.as_ref(), max)?;
            judge(&measured, &output, declared, AT_ONCE)?.ok().map(|verdict| (measured, verdict))
        }
    };
    let (output, measured, verdict) = match at_once {
        Some((measured, verdict)) => (output, measured, verdict),
        None => {
            let (declared, list) = (declared.clone(), tool.records.clone());
            // The backend has answered already, and its answer holds room while it waits behind the checks of others.
            let turn = tokio::time::timeout(WITHIN, checks.turn(identity)).await;
            let is_in_time = turn.is_ok();
            let check = move || {
                let measured = records::measure(&output, list.as_ref(), max)?;
                let verdict = match is_in_time {
                    true => judge(&measured, &output, &declared, AT_MOST)?
                        .unwrap_or_else(|Exhausted| Err("it takes too long to check.".to_owned())),
                    false => Err("the server had no time to check it.".to_owned()),
                };
                Ok((output, measured, verdict))
            };
            match turn {
                Ok(turn) => Checks::run(turn, check).await.unwrap_or(Err(Failure::Malformed))?,
                Err(_) => tokio::task::spawn_blocking(check).await.unwrap_or(Err(Failure::Malformed))?,
            }
        }
    };
    match (verdict, tool.effect) {
        (Ok(()), _) => Ok((output, measured)),
        (Err(why), Effect::Read) => Err(Failure::Nonconforming(why)),
        (Err(why), Effect::Write) => {
            let space = if why.starts_with('\n') { "" } else { " " };
            let note =
                format!("The call succeeded. Its answer does not conform to the tool's `outputSchema`:{space}{why}");
            let measured = measured.unstructured(&note, &output);
            Ok((output, measured))
        }
    }
}

/// Why a result does not conform, if it does not. Only a result that is no error has to.
fn judge(
    measured: &Measured,
    output: &Output,
    declared: &OutputSchema,
    steps: Steps,
) -> Result<Result<Result<(), String>, Exhausted>, Failure> {
    if matches!(output, Output::Content(content) if content.is_error) {
        return Ok(Ok(Ok(())));
    }
    let Some(content) = measured.structured(output) else {
        return Ok(Ok(Err("it is a text, and not JSON.".to_owned())));
    };
    // It was read before, and may now be one level deeper than what can be checked.
    let Ok(checked) = strict::check_answer(content.as_bytes()) else {
        return Ok(Ok(Err("it is nested too deep, or has too many values, to be checked.".to_owned())));
    };
    let whole = checked.pointer("").ok_or(Failure::Malformed)?;
    let verdict = declared.check(&Instance::new(&whole), steps);
    Ok(verdict.map(|verdict| verdict.map_err(|violation| violation.message)))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::cancellation::Cancellation;
    use crate::guard::{Answers, fixtures::tool};

    const IDENTITY: Fingerprint = Fingerprint::from_bytes([1; 16]);

    /// A tool with this schema of its structured content, and other fields.
    fn declared(schema: &Value, effect: &str, more: &Value) -> Tool {
        let mut fields = json!({"outputSchema": {"type": "object"}, "effect": effect});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut tool = tool(&fields);
        tool.output = Some(OutputSchema::compile(schema.as_object().unwrap(), &mut Default::default()).unwrap());
        tool
    }

    async fn result(tool: &Tool, answer: &str, max: u32) -> Result<Value, Failure> {
        let output = Output::json(Bytes::copy_from_slice(answer.as_bytes()));
        let bounded = Answers::default().bound(&Checks::default(), IDENTITY, tool, output, max.into()).await?.0;
        Ok(serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(&bounded.members).unwrap())).unwrap())
    }

    #[tokio::test]
    async fn what_a_client_is_given_conforms_after_its_records_were_bounded() {
        let schema =
            json!({"type": "object", "required": ["items"], "properties": {"items": {"items": {"type": "integer"}}}});
        let tool = declared(&schema, "Read", &json!({"records": {"path": "/items"}}));
        let given = result(&tool, r#"{"items":[1,2,"canary"]}"#, 2).await.unwrap();
        assert_eq!(given["structuredContent"], json!({"items": [1, 2]}), "what is left out is not judged");
        let refused = result(&tool, r#"{"items":[1,2,"canary"]}"#, 3).await;
        assert_eq!(refused, Err(Failure::Nonconforming("`/items/2` must be an integer (`type`)".into())));
    }

    #[tokio::test]
    async fn a_constant_was_checked_with_its_policy_and_is_not_checked_for_each_call() {
        let mut tool = tool(&json!({
            "static": {"structuredContent": {"items": [1, 2]}}, "records": {"path": "/items"},
            "outputSchema": {"type": "object"},
        }));
        // Which the policy would not have been given with.
        tool.output = declared(&json!({"type": "object", "required": ["canary"]}), "Read", &json!({})).output;
        let call = tool.work.prepare(&crate::protocol::strict::parse(b"{}").unwrap(), IDENTITY).unwrap();
        let output = call.run(WITHIN, &Cancellation::never(), pending).await.unwrap();
        let bound = async |max: u32| {
            Answers::default().bound(&Checks::default(), IDENTITY, &tool, output.clone(), max.into()).await
        };
        assert!(bound(2).await.is_ok());
        assert!(matches!(bound(1).await, Err(Failure::Nonconforming(_))), "what is left of it is checked");
    }

    #[tokio::test]
    async fn a_list_is_judged_as_the_property_that_it_becomes_and_a_text_is_not_structured() {
        let schema = json!({"type": "object", "required": ["result"], "properties": {"result": {"type": "array"}}});
        let tool = declared(&schema, "Read", &json!({}));
        assert_eq!(result(&tool, "[1]", 1).await.unwrap()["structuredContent"], json!({"result": [1]}));
        assert_eq!(
            result(&tool, "1", 1).await,
            Err(Failure::Nonconforming("`/result` must be an array (`type`)".into()))
        );
        // Duplicate keys and half characters are mended before.
        let strings = declared(&json!({"type": "object", "properties": {"a": {"type": "string"}}}), "Read", &json!({}));
        let mended = result(&strings, r#"{"a":1,"a":"\ud83d"}"#, 1).await.unwrap();
        assert_eq!(mended["structuredContent"], json!({"a": "\u{fffd}"}));
    }

    #[tokio::test]
    async fn a_write_keeps_its_text_and_is_no_error() {
        let schema = json!({"type": "object", "required": ["id"]});
        let tool = declared(&schema, "Write", &json!({"records": {"path": "/items"}}));
        let why = "The call succeeded. Its answer does not conform to the tool's `outputSchema`: the required property `id` is missing (`required`)";
        let note = format!("Only the first 1 records are shown: this client may not be given more by one call.\n{why}");
        assert_eq!(
            result(&tool, r#"{"items":[1,2]}"#, 1).await.unwrap(),
            json!({
                "content": [{"type": "text", "text": r#"{"items":[1]}"#}, {"type": "text", "text": note}],
                "structuredContent": {"portcullis.dev/unstructured": why}, "isError": false,
            })
        );
    }

    #[tokio::test]
    async fn large_answers_and_checks_that_take_long_are_judged_elsewhere_and_alike() {
        let schema = json!({"type": "object", "properties": {"items": {"uniqueItems": true, "items": {"pattern": "^(a?){40}b$"}}}});
        let tool = declared(&schema, "Read", &json!({}));
        let answer = |count: usize, last: &str| {
            let items: Vec<_> =
                (0..count).map(|n| format!("{}b", "a".repeat(n % 40))).chain([last.to_owned()]).collect();
            json!({"items": items}).to_string()
        };
        for count in [30, 20_000] {
            let refused = result(&tool, &answer(count, "canary"), 1).await;
            assert!(matches!(&refused, Err(Failure::Nonconforming(why)) if !why.contains("canary")), "{refused:?}");
        }
        let plain = declared(
            &json!({"type": "object", "properties": {"items": {"items": {"type": "string"}}}}),
            "Read",
            &json!({}),
        );
        assert!(result(&plain, &answer(20_000, "b"), 1).await.is_ok());
    }
}
