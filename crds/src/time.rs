//! A point in time as resources contain it: RFC 3339, in every form that an API server accepts, also for an older schema of ours.

use std::borrow::Cow;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::json;

/// What the schema accepts of the format, which accepts an hour of 99 in an offset, and small letters that CEL refuses. Leap seconds are
/// refused by the API server, and on files by the pattern.
pub(crate) const PATTERN: &str =
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
/// The message of a finding.
pub(crate) const ALLOWED: &str =
    "must be a time with seconds and an offset (RFC 3339), such as 2027-01-01T00:00:00Z or 2027-01-01T09:30:00+09:00";
/// How many digits of a fraction of a second count.
const FRACTION: usize = 9;

/// Parses a time. What lies beyond the last time that can be held, such as `9999-12-31T23:59:59Z`, is that last time. Digits of a
/// fraction that are too small to count are left out.
///
/// # Errors
/// Returns an error if the text is not a time.
pub fn parse(text: &str) -> Result<Time, &'static str> {
    let text = shortened(text);
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Time(time));
    }
    // The year is the last one: only its last hours cannot be held.
    let earlier = text.strip_prefix("9999-").map(|rest| format!("9998-{rest}"));
    match earlier.is_some_and(|earlier| earlier.parse::<Timestamp>().is_ok()) {
        true => Ok(Time(Timestamp::MAX)),
        false => Err(ALLOWED),
    }
}

fn shortened(text: &str) -> Cow<'_, str> {
    let Some((whole, rest)) = text.split_once('.') else { return text.into() };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits <= FRACTION { text.into() } else { format!("{whole}.{}{}", &rest[..FRACTION], &rest[digits..]).into() }
}

/// Decodes an optional time, for serde's `deserialize_with`.
///
/// # Errors
/// Returns an error if it is not a time.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    text.map(|text| parse(&text)).transpose().map_err(de::Error::custom)
}

/// The schema of an optional time, for schemars' `schema_with`.
pub fn schema(_: &mut SchemaGenerator) -> Schema {
    // The API server takes a list for a text that has a format, unless a rule looks at it.
    let rule = json!([{"rule": "type(self) == google.protobuf.Timestamp", "message": "must be a time"}]);
    json_schema!({
        "type": "string", "format": "date-time", "pattern": PATTERN, "nullable": true, "x-kubernetes-validations": rule,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_that_the_api_server_accepts_is_held() {
        let printed = |text: &str| parse(text).map(|time| time.0.to_string());
        for (text, expected) in [
            ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("2027-01-01t00:00:00z", "2027-01-01T00:00:00Z"),
            ("2027-01-01T01:30:00+01:30", "2027-01-01T00:00:00Z"),
            ("2031-01-01T00:00:00.1234567899Z", "2031-01-01T00:00:00.123456789Z"),
            ("2030-12-31T23:59:60Z", "2030-12-31T23:59:59Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-30T00:00:00Z", "9999-12-30T00:00:00Z"),
            ("9999-12-31T23:59:59Z", &Timestamp::MAX.to_string()),
            ("9999-12-31T23:59:59.9999999999-23:00", &Timestamp::MAX.to_string()),
        ] {
            assert_eq!(printed(text).as_deref(), Ok(expected), "{text}");
        }
        for text in
            ["", "soon", "2027-01-01", "2027-02-30T00:00:00Z", "9999-13-01T00:00:00Z", "2027-01-01T00:00:00+99:00"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
