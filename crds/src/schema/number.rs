//! Numbers by their mathematical value: `1` and `1.0` are the same, and `19.99` is a multiple of `0.01`.
//!
//! An integer of 64 bits is exact; every other number is a double, as JSON libraries read it. Divisibility is decided in decimal,
//! on the shortest digits that denote a double, because that is what people write.

use std::cmp::Ordering;

/// A number in its only form: a double is never an integer of 64 bits, so that equal numbers have equal bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Integer(i64),
    /// Above the range of `Integer`.
    Unsigned(u64),
    Double(f64),
}

impl Number {
    /// A number of RFC 8259; `None` if it is beyond the range of a double.
    pub fn parse(digits: &str) -> Option<Self> {
        if let Ok(integer) = digits.parse::<i64>() {
            return Some(Self::Integer(integer));
        }
        if let Ok(integer) = digits.parse::<u64>() {
            return Some(Self::from(integer));
        }
        digits.parse::<f64>().ok().filter(|double| double.is_finite()).map(Self::from)
    }

    pub fn is_integer(self) -> bool {
        match self {
            Self::Integer(_) | Self::Unsigned(_) => true,
            Self::Double(double) => double.fract() == 0.0,
        }
    }

    /// The greatest whole number up to it; `None` if that is negative or too large.
    pub fn floor(self) -> Option<u64> {
        match self {
            Self::Integer(integer) => u64::try_from(integer).ok(),
            Self::Unsigned(integer) => Some(integer),
            // Above 2^64 no double has a fraction.
            Self::Double(double) => match Self::from(double.floor()) {
                Self::Double(_) => None,
                whole => whole.floor(),
            },
        }
    }

    pub fn compare(self, other: Self) -> Ordering {
        match (self.exact(), other.exact()) {
            (Some(a), Some(b)) => a.cmp(&b),
            (None, Some(integer)) => compare(self.double(), integer),
            (Some(integer), None) => compare(other.double(), integer).reverse(),
            (None, None) => self.double().total_cmp(&other.double()),
        }
    }

    /// What it takes to decide whether it is a multiple of `divisor`, compared with the other decisions about a number.
    pub(super) fn division_steps(self, divisor: Self) -> usize {
        if self.exact().is_some() && divisor.exact().is_some() { 1 } else { 8 }
    }

    /// Whether it is a multiple of `divisor`, which is above zero.
    pub fn is_multiple_of(self, divisor: Self) -> bool {
        let (value, divisor) = (Decimal::from(self), Decimal::from(divisor));
        if value.digits == 0 {
            return true;
        }
        let shift = value.exponent - divisor.exponent;
        if shift >= 0 {
            let power = power_of_ten(shift.unsigned_abs(), divisor.digits);
            // Both factors are below the divisor, which has at most 64 bits.
            return ((value.digits % divisor.digits) * power).is_multiple_of(divisor.digits);
        }
        // The divisor in units of the value; if it has more than 128 bits, it is greater than the value.
        let scaled = 10_u128.checked_pow(shift.unsigned_abs()).and_then(|power| power.checked_mul(divisor.digits));
        scaled.is_some_and(|scaled| value.digits % scaled == 0)
    }

    fn exact(self) -> Option<i128> {
        match self {
            Self::Integer(integer) => Some(integer.into()),
            Self::Unsigned(integer) => Some(integer.into()),
            Self::Double(_) => None,
        }
    }

    fn double(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Unsigned(integer) => integer as f64,
            Self::Double(double) => double,
        }
    }
}

impl From<u64> for Number {
    fn from(integer: u64) -> Self {
        i64::try_from(integer).map_or(Self::Unsigned(integer), Self::Integer)
    }
}

impl From<f64> for Number {
    fn from(double: f64) -> Self {
        // 2^63 and 2^64: both bounds are exact doubles, so the casts lose nothing.
        const SIGNED: f64 = 9_223_372_036_854_775_808.0;
        const UNSIGNED: f64 = 18_446_744_073_709_551_616.0;
        if double.fract() != 0.0 {
            Self::Double(double)
        } else if (-SIGNED..SIGNED).contains(&double) {
            Self::Integer(double as i64)
        } else if (SIGNED..UNSIGNED).contains(&double) {
            Self::Unsigned(double as u64)
        } else {
            Self::Double(double)
        }
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        if let Some(integer) = number.as_i64() {
            return Self::Integer(integer);
        }
        number.as_u64().map(Self::from).or_else(|| number.as_f64().map(Self::from)).unwrap_or(Self::Double(f64::MAX))
    }
}

/// Compares a double that is not an integer of 64 bits with one that is.
fn compare(double: f64, integer: i128) -> Ordering {
    // Beyond 2^64 the sign decides; otherwise the double has a fraction, and is less than 2^53.
    if double.abs() >= 1.0e19 {
        return if double > 0.0 { Ordering::Greater } else { Ordering::Less };
    }
    let floor = double.floor() as i128;
    if floor >= integer { Ordering::Greater } else { Ordering::Less }
}

/// `digits` times ten to the power of `exponent`; the sign does not matter for divisibility.
struct Decimal {
    digits: u128,
    exponent: i32,
}

impl From<Number> for Decimal {
    fn from(number: Number) -> Self {
        let double = match number {
            Number::Integer(integer) => return Self { digits: integer.unsigned_abs().into(), exponent: 0 },
            Number::Unsigned(integer) => return Self { digits: integer.into(), exponent: 0 },
            Number::Double(double) => double,
        };
        // The shortest digits that denote the double: at most 17, such as `1.999e1`.
        let text = format!("{:e}", double.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits =
            whole.bytes().chain(fraction.bytes()).fold(0, |sum, b| sum * 10 + u128::from(b.wrapping_sub(b'0')));
        let exponent = exponent.parse().unwrap_or(0_i32) - fraction.len() as i32;
        Self { digits, exponent }
    }
}

/// `10^exponent` modulo `modulus`, which has at most 64 bits.
fn power_of_ten(mut exponent: u32, modulus: u128) -> u128 {
    let (mut base, mut power) = (10 % modulus, 1 % modulus);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = power * base % modulus;
        }
        base = base * base % modulus;
        exponent >>= 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(digits: &str) -> Number {
        Number::parse(digits).unwrap()
    }

    #[test]
    fn a_number_has_one_form() {
        for (digits, expected) in [
            ("1", Number::Integer(1)),
            ("1.0", Number::Integer(1)),
            ("1e3", Number::Integer(1000)),
            ("-0", Number::Integer(0)),
            ("-0.0", Number::Integer(0)),
            ("18446744073709551615", Number::Unsigned(u64::MAX)),
            ("1e19", Number::Unsigned(10_000_000_000_000_000_000)),
            ("1.5", Number::Double(1.5)),
            ("1e300", Number::Double(1e300)),
        ] {
            assert_eq!(Number::parse(digits), Some(expected), "{digits}");
        }
        assert_eq!(Number::parse("1e400"), None);
        assert!(number("1e300").is_integer() && !number("0.1").is_integer());
    }

    #[test]
    fn integers_and_doubles_are_compared_exactly() {
        let sorted =
            ["-1e300", "-9223372036854775808", "-1.5", "-1", "0", "0.5", "1", "9007199254740993", "1e19", "1e20"];
        for (n, a) in sorted.iter().enumerate() {
            for (m, b) in sorted.iter().enumerate() {
                assert_eq!(number(a).compare(number(b)), n.cmp(&m), "{a} {b}");
            }
        }
    }

    #[test]
    fn divisibility_is_decided_in_decimal() {
        for (value, divisor, expected) in [
            ("19.99", "0.01", true),
            ("4.35", "0.01", true),
            ("0.3", "0.1", true),
            ("0.0075", "0.0001", true),
            ("0.00751", "0.0001", false),
            ("1e308", "0.123456789", false),
            ("1e300", "1e-300", true),
            ("1", "1e-300", true),
            ("1e-300", "1", false),
            ("12391239123", "1e-8", true),
            ("7", "2", false),
            ("7", "3.5", true),
            ("0", "1e300", true),
            ("18446744073709551615", "5", true),
        ] {
            assert_eq!(number(value).is_multiple_of(number(divisor)), expected, "{value} {divisor}");
        }
    }
}
