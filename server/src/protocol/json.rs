//! The one writer of JSON text, appended to whatever holds the text.

use serde_json::Value;

/// A buffer that JSON text is appended to.
pub trait Buffer {
    fn push_text(&mut self, text: &str);

    /// Appends what is between the quotes of a JSON string.
    fn push_escaped(&mut self, mut text: &str) {
        loop {
            let at = plain(text.as_bytes());
            self.push_text(&text[..at]);
            let Some(escape) = text.as_bytes().get(at).and_then(|byte| escape(*byte)) else { return };
            self.push_text(escape);
            text = &text[at + 1..];
        }
    }
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

/// Counts the bytes that would be written.
#[derive(Debug, Default)]
pub struct Count(pub usize);

impl Buffer for Count {
    fn push_text(&mut self, text: &str) {
        self.0 += text.len();
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

/// How many bytes from the first one on a JSON string may contain as they are (RFC 8259, section 7): eight are looked at at once.
pub fn plain(bytes: &[u8]) -> usize {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    // The highest bit of each byte that is less than `EACH * n` for n up to 128; above such a byte, bits mean nothing.
    let below = |word: u64, least: u8| word.wrapping_sub(EACH * u64::from(least)) & !word & (EACH << 7);
    let is = |word: u64, byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
    let special = |chunk: &[u8; 8]| {
        let word = u64::from_le_bytes(*chunk);
        below(word, 0x20) | is(word, b'"') | is(word, b'\\')
    };
    let first = |special: u64| (special.trailing_zeros() / 8) as usize;
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        match special(chunk) {
            0 => at += 8,
            found => return at + first(found),
        }
    }
    // What is left is looked at together with some of what was before it, or with spaces behind it.
    let (chunk, from) = match bytes.last_chunk() {
        Some(chunk) => (*chunk, bytes.len() - 8),
        None => {
            let mut chunk = [b' '; 8];
            chunk[..bytes.len()].copy_from_slice(bytes);
            (chunk, 0)
        }
    };
    match special(&chunk) {
        0 => bytes.len(),
        found => from + first(found),
    }
}

/// Appends a JSON string, including its quotes (RFC 8259, section 7).
pub fn push_string<B: Buffer>(out: &mut B, text: &str) {
    out.push_text("\"");
    out.push_escaped(text);
    out.push_text("\"");
}

/// The escape of a byte that a JSON string may not contain as it is.
fn escape(byte: u8) -> Option<&'static str> {
    match byte {
        b'"' => Some("\\\""),
        b'\\' => Some("\\\\"),
        0..0x20 => Some(CONTROLS[usize::from(byte)]),
        _ => None,
    }
}

/// `text` as a JSON string.
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

/// Begins an array; its items are to follow.
pub fn array<B: Buffer>(out: &mut B) -> Container<'_, B> {
    Container::begin(out, "[", "]")
}

/// Begins an object; its members are to follow.
pub fn object<B: Buffer>(out: &mut B) -> Container<'_, B> {
    Container::begin(out, "{", "}")
}

/// An array or an object that is being written, with the punctuation around and between its items.
#[must_use = "it has to be closed"]
pub struct Container<'b, B> {
    out: &'b mut B,
    close: &'static str,
    is_empty: bool,
}

impl<'b, B: Buffer> Container<'b, B> {
    fn begin(out: &'b mut B, open: &str, close: &'static str) -> Self {
        out.push_text(open);
        Self { out, close, is_empty: true }
    }

    /// Begins an item of an array; its value is to be appended to what this returns.
    pub fn item(&mut self) -> &mut B {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push_text(",");
        }
        self.out
    }

    /// Begins a member of an object; its value is to be appended to what this returns.
    pub fn member(&mut self, name: &str) -> &mut B {
        let out = self.item();
        push_string(out, name);
        out.push_text(":");
        out
    }

    pub fn close(self) {
        self.out.push_text(self.close);
    }
}

/// Appends a value.
pub fn push_value<B: Buffer>(out: &mut B, value: &Value) {
    match value {
        Value::Null => out.push_text("null"),
        Value::Bool(true) => out.push_text("true"),
        Value::Bool(false) => out.push_text("false"),
        Value::Number(number) => out.push_text(&number.to_string()),
        Value::String(text) => push_string(out, text),
        Value::Array(items) => {
            let mut array = array(out);
            for item in items {
                push_value(array.item(), item);
            }
            array.close();
        }
        Value::Object(members) => {
            let mut object = object(out);
            for (name, member) in members {
                push_value(object.member(name), member);
            }
            object.close();
        }
    }
}

/// A value as text.
pub fn value(value: &Value) -> String {
    let mut out = String::new();
    push_value(&mut out, value);
    out
}

/// Appends a number in decimal.
pub fn push_number<B: Buffer>(out: &mut B, number: u64) {
    out.push_text(itoa::Buffer::new().format(number));
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
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn any_string_reads_back_from_either_buffer(text in any::<String>()) {
            let mut bytes = Vec::new();
            push_string(&mut bytes, &text);
            prop_assert_eq!(String::from_utf8(bytes.clone()).unwrap(), string(&text));
            let mut count = Count::default();
            push_string(&mut count, &text);
            prop_assert_eq!(count.0, bytes.len());
            prop_assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
        }

        #[test]
        fn plain_bytes_end_at_the_first_that_is_escaped(bytes in proptest::collection::vec(bytes_to_escape(), 0..40)) {
            let first = bytes.iter().position(|byte| escape(*byte).is_some());
            prop_assert_eq!(plain(&bytes), first.unwrap_or(bytes.len()));
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

    /// Mostly plain, and everything that is next to a byte that is escaped.
    fn bytes_to_escape() -> impl Strategy<Value = u8> {
        prop_oneof![30 => 0x20..=0xff_u8, 1 => Just(b'"'), 1 => Just(b'\\'), 1 => 0..0x22_u8, 1 => any::<u8>()]
    }

    #[test]
    fn a_value_reads_back() {
        let any = json!({"a": [], "b": {}, "c": [null, true, false, -1, 1.5, "x\"\u{1}"], "d": {"e": {"f": [1, 2]}, "g": ""}});
        assert_eq!(serde_json::from_str::<Value>(&value(&any)).unwrap(), any);
        assert_eq!(value(&json!([{"a": 1}, [], 2])), r#"[{"a":1},[],2]"#);
    }

    #[test]
    fn every_control_character_is_escaped() {
        for byte in 0..0x20_u8 {
            let text = char::from(byte).to_string();
            assert_eq!(serde_json::from_str::<String>(&string(&text)).unwrap(), text, "{byte:#x}");
        }
    }
}
