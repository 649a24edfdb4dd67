//! The one writer of JSON text: strings and numbers, appended to whatever holds the text.

/// A buffer that JSON text is appended to.
pub trait Buffer {
    fn push_text(&mut self, text: &str);
}

impl Buffer for String {
    fn push_text(&mut self, text: &str) {
        self.push_str(text);
    }
}

impl Buffer for Vec<u8> {
    fn push_text(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }
}

/// The escapes of U+0000 to U+001F, which no JSON string may contain as they are.
#[rustfmt::skip]
const CONTROLS: [&str; 32] = [
    "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007",
    "\\u0008", "\\t",     "\\n",     "\\u000b", "\\u000c", "\\r",     "\\u000e", "\\u000f",
    "\\u0010", "\\u0011", "\\u0012", "\\u0013", "\\u0014", "\\u0015", "\\u0016", "\\u0017",
    "\\u0018", "\\u0019", "\\u001a", "\\u001b", "\\u001c", "\\u001d", "\\u001e", "\\u001f",
];

/// Appends a JSON string, including its quotes (RFC 8259, section 7).
pub fn push_string<B: Buffer>(out: &mut B, text: &str) {
    out.push_text("\"");
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            0..0x20 => CONTROLS[usize::from(byte)],
            _ => continue,
        };
        out.push_text(&text[plain..at]);
        out.push_text(escape);
        plain = at + 1;
    }
    out.push_text(&text[plain..]);
    out.push_text("\"");
}

/// `text` as a JSON string.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

/// Appends a number in decimal.
pub fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
}

/// Appends the last `width` digits of a number (at most nine), with leading zeros: a fraction, not a JSON number by itself.
pub fn push_fraction(out: &mut Vec<u8>, mut number: u32, width: usize) {
    let mut digits = [b'0'; 9];
    for digit in digits[..width].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[..width]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_string_reads_back_from_either_buffer(text in any::<String>()) {
            let mut bytes = Vec::new();
            push_string(&mut bytes, &text);
            prop_assert_eq!(String::from_utf8(bytes.clone()).unwrap(), string(&text));
            prop_assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
        }

        #[test]
        fn any_number_reads_back(number in any::<u64>(), fraction in 0..1_000_u32) {
            let mut bytes = Vec::new();
            push_number(&mut bytes, number);
            bytes.push(b'.');
            push_fraction(&mut bytes, fraction, 3);
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), format!("{number}.{fraction:03}"));
        }
    }

    #[test]
    fn every_control_character_is_escaped() {
        for byte in 0..0x20_u8 {
            let text = char::from(byte).to_string();
            assert_eq!(serde_json::from_str::<String>(&string(&text)).unwrap(), text, "{byte:#x}");
        }
    }
}
