//! Texts that mean something to a program on the way to a backend: to a URL parser, an HTTP parser, a shell, a template.

/// All of them.
pub fn hostile_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "plain",
        "",
        ".",
        "..",
        "...",
        "../..",
        "..\\..",
        "%2e",
        "%2e%2e",
        "%2E%2E%2F",
        "%252e",
        "%",
        "%zz",
        "%00",
        "/",
        "//",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "?",
        "a?b=c",
        "#",
        "a#b",
        "&",
        "a&limit=9999",
        "a=b",
        ";",
        "a;b",
        "+",
        "a b",
        "\r\n",
        "a\r\nX-Injected: 1\r\n\r\n",
        "a\nb",
        "\0",
        "a\0b",
        "\"",
        "'",
        "\"}, \"admin\": true, \"x\": {\"",
        "' OR 1=1 --",
        "<script>",
        "{other}",
        "{v}",
        "{{",
        "}}",
        "${v}",
        "$(id)",
        "`id`",
        "@",
        "a@evil.example",
        "http://evil.example/",
        "//evil.example",
        ":",
        ":80",
        "*",
        "[",
        "]",
        "\u{e9}",
        "日本語",
        "😀",
        "\u{202e}abc",
        "\u{0}\u{1}\u{1f}\u{7f}\u{80}",
        "\u{feff}",
        "\u{fffd}",
        "ＡＢ",
        "．．",
        "／",
        "\u{2024}\u{2024}",
        "__proto__",
        "constructor",
        "null",
        "true",
        "0",
        "-0",
        "1e400",
        "x-api-key",
        "HTTP/1.1",
        " leading",
        "trailing ",
        "\t",
    ]
    .map(str::to_owned)
    .into();
    texts.push("x".repeat(30_000));
    texts.push("é".repeat(10_000));
    texts.push("../".repeat(10_000));
    texts
}

/// Whether a path segment cannot hold this text: programs that normalise the path would read another path.
pub fn is_unsafe_segment(text: &str) -> bool {
    let name = text.split(';').next().unwrap_or_default();
    text.is_empty() || matches!(name, "." | "..") || is_unsafe_in_segment(text)
}

/// Whether a text cannot be a part of one.
pub fn is_unsafe_in_segment(text: &str) -> bool {
    text.contains(['/', '\\', '\0'])
}

/// The text in an error message.
pub fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
