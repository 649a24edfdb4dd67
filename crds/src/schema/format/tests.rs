use super::*;

#[test]
fn a_format_is_what_its_rfc_says() {
    for (format, valid, invalid) in [
        (
            "date",
            &["2024-02-29", "1999-12-31"][..],
            &["2023-02-29", "2024-1-01", "2024-13-01", "２024-01-01", "2024-01-01 ", ""][..],
        ),
        (
            "date-time",
            &["2024-01-01T00:00:00Z", "2024-01-01t23:59:60.5z", "1998-12-31T15:59:60-08:00"],
            &[
                "2024-01-01",
                "2024-01-01 00:00:00Z",
                "2024-01-01T24:00:00Z",
                "2024-01-01T00:00:00",
                "2024-01-01T12:00:60Z",
                "é024-01-01T",
            ],
        ),
        (
            "time",
            &["12:00:00Z", "12:00:00.123+01:00"],
            &["12:00:00", "12:00Z", "12:00:00.Z", "12:00:00+24:00", "12:00:00+1"],
        ),
        (
            "duration",
            &["P1Y2M3D", "PT4H5M6S", "P1W", "P1DT1S"],
            &["P", "PT", "P1DT", "P1Y1D", "P1D1Y", "1D", "P1WT1S", "PT1D"],
        ),
        (
            "email",
            &["a@b", "a.b+c@x.example", "\"a b\"@x.example", "a@[127.0.0.1]", "a@[IPv6:::1]"],
            &["a", "@b", "a@", ".a@b", "a..b@c", "ä@b", "a@b_c", "a@[x]"],
        ),
        ("idn-email", &["ä@b", "実例@実例.テスト"], &["a", "a@"]),
        (
            "hostname",
            &["a", "a-b.example", "xn--4gbwdl.xn--wgbh1c", "1.2"],
            &["", "-a", "a-", "a..b", "a_b", "ä", "ab--c", "a."],
        ),
        ("idn-hostname", &["実例.テスト", "a.b"], &["", "a b", "-ä"]),
        ("ipv4", &["127.0.0.1"], &["127.0.0", "256.0.0.0", "01.2.3.4", "1.2.3.4/8"]),
        ("ipv6", &["::1", "::ffff:1.2.3.4"], &["1::2::3", "12345::", "fe80::1%eth0", "[::1]"]),
        (
            "uri",
            &["http://a:80/b?c#d", "urn:x:y", "mailto:a@b", "http://[::1]/", "http://[v1.x]/", "a:%20", "x:"],
            &["//a/b", "a b:c", "http://a b", "http://[::1", "a:%2", "http://ä", "1a:b", "http://a:b/", "x:<y>"],
        ),
        ("uri-reference", &["", "/a", "//a/b", "?x", "#x", "a/b:c"], &["\\a", "a:b:c:%", "1:2", "##"]),
        ("iri", &["http://ä/ö"], &["/ä", "http://a b"]),
        ("iri-reference", &["/ä"], &["\\ä"]),
        (
            "uri-template",
            &["", "/a/{b}", "{+a,b*}{?c:3}", "{a.b}"],
            &["{", "{}", "{a", "a}", "{a:0}", "{a:12345}", "{a,}", "{a b}"],
        ),
        ("json-pointer", &["", "/a~0~1", "//"], &["a", "/~", "/~2", "#/a"]),
        ("relative-json-pointer", &["0", "1/a", "10#"], &["", "/a", "01/a", "-1", "1a"]),
        ("regex", &["a+", r"\p{L}{3}"], &["(", "(?=a)"]),
        ("uuid", &["2EB8AA08-aa98-11ea-b4aa-73b441d16380"], &["2eb8aa08aa9811eab4aa73b441d16380", "x", ""]),
    ] {
        let checked = Format::of(format).unwrap();
        for (texts, expected) in [(valid, true), (invalid, false)] {
            for text in texts {
                assert_eq!(checked.is_valid(text), expected, "{format}: {text}");
            }
        }
    }
    assert_eq!(Format::of("colour"), None);
}
