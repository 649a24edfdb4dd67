//! Arguments as text: in a path, a query, a form, or the middle of a text.

use std::borrow::Cow;

use portcullis_crds::template::{Part, Template};

use crate::protocol::strict::{Json, Node};

/// An argument of a call. Null and absent are the same wherever an argument is put in its place.
pub fn argument<'n, 'a>(arguments: &'n Node<'a>, name: &str) -> Option<&'n Node<'a>> {
    arguments.get(name).filter(|node| node.value != Json::Null)
}

/// A template as text; `None` if one of its arguments is absent: half a text would be another text. A list or an object is its JSON.
pub fn render(template: &Template, arguments: &Node<'_>) -> Option<String> {
    let mut out = String::new();
    for part in template.parts() {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Argument(name) => {
                let node = argument(arguments, name)?;
                out.push_str(&scalar(node).unwrap_or(Cow::Borrowed(node.raw)));
            }
        }
    }
    Some(out)
}

/// A string, a number or a boolean as text. A whole number has plain digits, also if it was written as `5.0` or `1e3`, which JSON Schema
/// takes for integers; other numbers keep the digits that they were written with.
pub fn scalar<'n>(node: &'n Node<'_>) -> Option<Cow<'n, str>> {
    match &node.value {
        Json::String(text) => Some(Cow::Borrowed(text)),
        Json::Number(digits) => Some(whole(digits).map_or(Cow::Borrowed(digits), Cow::Owned)),
        Json::Bool(true) => Some(Cow::Borrowed("true")),
        Json::Bool(false) => Some(Cow::Borrowed("false")),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// The plain digits of a whole number that is not written with them, exactly; `None` for any other number. It has at most as many
/// digits as were written, and the 309 that the greatest double has.
fn whole(number: &str) -> Option<String> {
    if number != "-0" && !number.contains(['.', 'e', 'E']) {
        return None;
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [integer, fraction].concat();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    // How many digits there are before the point, from the first significant one on.
    let leading = i64::try_from(digits.len() - digits.trim_start_matches('0').len()).ok()?;
    let before = i64::try_from(integer.len()).ok()?.checked_add(exponent.parse().ok()?)?.checked_sub(leading)?;
    let before = usize::try_from(before).ok().filter(|before| *before >= significant.len())?;
    Some(format!("{sign}{significant:0<before$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::strict;

    #[test]
    fn a_whole_number_has_plain_digits_and_others_stay_as_they_are_written() {
        for (number, text) in [
            ("5", "5"),
            ("5.0", "5"),
            ("-5.00", "-5"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("1.5e1", "15"),
            ("1200e-2", "12"),
            ("0.005e3", "5"),
            ("0.00e7", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("0e99999999999999999999", "0"),
            ("1e21", "1000000000000000000000"),
            ("9007199254740993", "9007199254740993"),
            ("9007199254740993.0", "9007199254740993"),
            ("18446744073709551617.0e1", "184467440737095516170"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1.50", "1.50"),
            ("-1.5e0", "-1.5e0"),
            ("15e-1", "15e-1"),
            ("1e-400", "1e-400"),
        ] {
            let node = strict::parse(number.as_bytes()).unwrap();
            assert_eq!(scalar(&node).unwrap(), text, "{number}");
        }
        let greatest = strict::parse(b"1e308").unwrap();
        assert_eq!(scalar(&greatest).unwrap().len(), 309);
    }

    #[test]
    fn a_text_is_left_out_if_one_of_its_arguments_is_null_or_absent() {
        let template = Template::parse("{a} of {b}").unwrap();
        for (arguments, text) in [
            (r#"{"a":2.0,"b":[1.0,null]}"#, Some("2 of [1.0,null]")),
            (r#"{"a":"","b":false}"#, Some(" of false")),
            (r#"{"a":2,"b":null}"#, None),
            (r#"{"a":2}"#, None),
        ] {
            let arguments = strict::parse(arguments.as_bytes()).unwrap();
            assert_eq!(render(&template, &arguments).as_deref(), text, "{}", arguments.raw);
        }
    }
}
