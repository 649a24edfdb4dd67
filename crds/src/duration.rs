//! A duration as resources contain it: `30s`, `1m30s`, `720h`, `250ms`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration in whole milliseconds, printed in the largest units that fit: `90s` is printed as `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration(u64);

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Duration::ALLOWED)]
pub struct DurationError;

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Duration {
    pub(crate) const PATTERN: &str = "^([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?$";
    /// The message of a finding.
    pub(crate) const ALLOWED: &str =
        "must be a duration: whole numbers with the units h, m, s and ms, such as 250ms, 30s, 1m30s or 720h";

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let mut rest = text;
        let mut millis = 0_u64;
        let mut units = UNITS.iter();
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| DurationError)?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = &rest[..letters];
            rest = &rest[letters..];
            // Units must get smaller, so that a duration has few spellings.
            let (_, size) = units.by_ref().find(|(name, _)| *name == unit).ok_or(DurationError)?;
            millis = number.checked_mul(*size).and_then(|n| n.checked_add(millis)).ok_or(DurationError)?;
        }
        if text.is_empty() { Err(DurationError) } else { Ok(Self(millis)) }
    }
}

impl TryFrom<String> for Duration {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, DurationError> {
        text.parse()
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> String {
        duration.to_string()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in UNITS {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "minLength": 2, "maxLength": 24,
            "pattern": Self::PATTERN
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_they_parse() {
        for (text, millis, printed) in [
            ("250ms", 250, "250ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "1m30s"),
            ("1m", 60_000, "1m"),
            ("720h", 2_592_000_000, "720h"),
            ("1h0m1s", 3_601_000, "1h1s"),
        ] {
            let parsed: Duration = text.parse().unwrap();
            assert_eq!((parsed.as_millis(), parsed.to_string().as_str()), (millis, printed));
            assert_eq!(printed.parse::<Duration>(), Ok(parsed));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "30", "s", "1s1m", "1s1s", "-1s", "1.5s", "1 s", "99999999999999999999s", "1d"] {
            assert_eq!(bad.parse::<Duration>(), Err(DurationError), "{bad}");
        }
    }
}
