//! The values of keywords, each in the one form that it may have.

use serde_json::{Map, Value};

use super::{Result, below, refuse};
use crate::schema::{node::TYPES, number::Number};

pub(super) fn type_bits(types: &Value, at: &str) -> Result<u8> {
    let bit = |name: &Value| match TYPES.iter().position(|known| name == known) {
        Some(n) => Ok(1 << n),
        None => refuse(at, format!("must be one of {}, or a list of them", TYPES.join(", "))),
    };
    match types {
        Value::Array(all) => all.iter().try_fold(0, |bits, name| Ok(bits | bit(name)?)),
        name => bit(name),
    }
}

pub(super) fn list<'v>(value: &'v Value, at: &str) -> Result<&'v [Value]> {
    value.as_array().map(Vec::as_slice).map_or_else(|| refuse(at, "must be a list"), Ok)
}

pub(super) fn text<'v>(value: &'v Value, at: &str) -> Result<&'v str> {
    value.as_str().map_or_else(|| refuse(at, "must be a string"), Ok)
}

pub(super) fn object<'v>(
    schema: &'v Map<String, Value>,
    name: &str,
    at: &str,
) -> Result<Option<&'v Map<String, Value>>> {
    match schema.get(name) {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => refuse(&below(at, name), "must be an object"),
    }
}

/// A whole number that is not negative, which may be written as `2.0`.
pub(super) fn count(schema: &Map<String, Value>, name: &str, at: &str) -> Result<Option<u64>> {
    let Some(value) = schema.get(name) else { return Ok(None) };
    let number = match value {
        Value::Number(number) => Number::from(number),
        _ => return refuse(&below(at, name), "must be a whole number from 0 up"),
    };
    match number {
        Number::Integer(count) if count >= 0 => Ok(Some(count.unsigned_abs())),
        Number::Unsigned(count) => Ok(Some(count)),
        Number::Double(double) if double > 0.0 && number.is_integer() => Ok(Some(u64::MAX)),
        _ => refuse(&below(at, name), "must be a whole number from 0 up"),
    }
}
