//! Amounts of CPU and memory as Kubernetes reads and writes them (k8s.io/apimachinery `resource.Quantity`).
//!
//! The API server stores an amount in a canonical form: `0.5` is stored as `500m`. An object that was built with another form would
//! always differ from the stored one.

use std::fmt;

/// An amount in billionths, and the form in which it was written. Amounts are equal whose values are, however they are written.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

/// The text is not a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a quantity such as 500m, 2, 64Mi or 1.5Gi")]
pub struct QuantityError;

const NANO: i128 = 1_000_000_000;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    /// Rounds up to billionths, away from zero.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (is_negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError);
        }
        let digits: i128 = format!("0{whole}{fraction}").parse().map_err(|_| QuantityError)?;
        let (form, exponent, shift) = scale(suffix)?;
        let tens = exponent + 9 - i32::try_from(fraction.len()).map_err(|_| QuantityError)?;
        let power = 10_i128.checked_pow(tens.unsigned_abs()).ok_or(QuantityError)?;
        let shifted = digits.checked_mul(1 << shift).ok_or(QuantityError)?;
        let nanos = if tens >= 0 {
            shifted.checked_mul(power).ok_or(QuantityError)?
        } else {
            shifted / power + i128::from(shifted % power != 0)
        };
        if nanos > i128::from(i64::MAX) * NANO {
            return Err(QuantityError);
        }
        Ok(Self { nanos: if is_negative { -nanos } else { nanos }, form })
    }
}

/// The form of a suffix, its power of ten and its power of two.
fn scale(suffix: &str) -> Result<(Form, i32, u32), QuantityError> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Ok((Form::DecimalSi, *exponent, 0));
    }
    if let Some((_, shift)) = BINARY.iter().find(|(known, _)| *known == suffix) {
        return Ok((Form::BinarySi, 0, *shift));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError)?;
    let exponent: i32 = exponent.parse().map_err(|_| QuantityError)?;
    if (-18..=18).contains(&exponent) { Ok((Form::DecimalExponent, exponent, 0)) } else { Err(QuantityError) }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.nanos.partial_cmp(&other.nanos)
    }
}

impl Quantity {
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Whether it is a whole number of units.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANO == 0
    }

    /// Whether it is a multiple of another amount, which is not zero.
    pub fn is_multiple_of(&self, other: &Self) -> bool {
        !other.is_zero() && self.nanos % other.nanos == 0
    }

    /// Rounded up to thousandths, as the API server does with the resources of a container.
    #[must_use]
    pub fn in_thousandths(self) -> Self {
        const MILLI: i128 = NANO / 1000;
        let up = i128::from(self.nanos % MILLI > 0);
        Self { nanos: (self.nanos / MILLI + up) * MILLI, ..self }
    }
}

/// The canonical form: no fraction, and the largest suffix without loss of precision.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let is_whole = self.nanos % NANO == 0;
        if self.form == Form::BinarySi && is_whole && (self.nanos / NANO).abs() >= 1024 {
            let (mut number, mut suffix) = (self.nanos / NANO, "");
            for (name, _) in BINARY {
                if number % 1024 == 0 {
                    (number, suffix) = (number / 1024, name);
                } else {
                    break;
                }
            }
            return write!(f, "{number}{suffix}");
        }
        let (mut number, mut at) = (self.nanos, 0);
        while number % 1000 == 0 && at + 1 < DECIMAL.len() {
            (number, at) = (number / 1000, at + 1);
        }
        match (self.form, DECIMAL[at]) {
            (Form::DecimalExponent, (_, exponent)) if exponent != 0 => write!(f, "{number}e{exponent}"),
            (_, (suffix, _)) => write!(f, "{number}{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_printed_in_the_canonical_form_of_the_api_server() {
        for (text, canonical) in [
            ("0.5", "500m"),
            ("500m", "500m"),
            ("1000m", "1"),
            ("1", "1"),
            ("+2", "2"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("512", "512"),
            ("512Mi", "512Mi"),
            ("0.5Ki", "512"),
            ("1.5Ki", "1536"),
            ("100k", "100k"),
            ("1000k", "1M"),
            ("1e3", "1e3"),
            ("12E2", "1200"),
            ("0", "0"),
            ("0Mi", "0"),
            (".5", "500m"),
            ("1.", "1"),
            ("0.1n", "1n"),
            ("-1.5", "-1500m"),
            ("1E", "1E"),
        ] {
            assert_eq!(text.parse::<Quantity>().map(|q| q.to_string()), Ok(canonical.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for bad in
            ["", "m", "1 Gi", "1gb", "1.2.3", "1e", "1e99", "--1", "lots", "99999999999999999999999999999999999999999"]
        {
            assert_eq!(bad.parse::<Quantity>(), Err(QuantityError), "{bad}");
        }
    }

    #[test]
    fn amounts_compare_by_value() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        assert!(quantity("1Gi") > quantity("1G"));
        assert_eq!(quantity("1000m"), quantity("1"));
        assert_eq!(quantity("1024Mi"), quantity("1Gi"));
        assert_eq!(quantity("100u").in_thousandths(), quantity("1m"));
        assert_eq!(quantity("2m").in_thousandths(), quantity("2m"));
        assert!(quantity("-1").is_negative());
    }
}
