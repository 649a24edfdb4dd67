//! Values that a schema admits, at its limits.

use std::collections::BTreeMap;

use portcullis_crds::manifest;
use proptest::{prelude::*, sample, strategy::Union, string::string_regex};
use serde_json::{Map, Value, json};

/// Texts at the edge of what the patterns and formats admit.
const ODD_TEXTS: [&str; 52] = [
    "",
    " ",
    "a",
    "A",
    "-",
    "a..b",
    "a.b",
    "a-",
    "-a",
    "ünï",
    "🔍",
    "a\nb",
    "\u{0}",
    "null",
    "/",
    "//",
    "/ ",
    "/{a}",
    "/a\n",
    "http://a",
    "https://a:99999/{b}",
    "http://ünï.example",
    "http://{host}",
    "http://a b",
    "http://[::1]:80/",
    "http:///x",
    "0s",
    "00h",
    "1h0m",
    "1m1h",
    "999999999h999999999m999999999s999999999ms",
    "9999999999h",
    "1.5s",
    "ms",
    "0ms",
    "2027-01-01T00:00:00Z",
    "2027-01-01t00:00:00z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59",
    "0000-01-01T00:00:00+23:59",
    "0000-01-01T00:00:00Z",
    "2031-01-01T00:00:00.1234567890Z",
    "2031-01-01T00:00:00.1Z",
    "2030-12-31T23:59:60Z",
    "2030-06-15T12:00:60Z",
    "2027-01-01T00:00:00+99:00",
    "2027-01-01T24:00:00Z",
    "2027-02-29T00:00:00Z",
    "2027-01-01 00:00:00Z",
    "2027-01-01T00:00:00",
    "1Gi",
    "1e3",
];

/// Generates values that a schema admits.
pub fn admitted(schema: &Value) -> BoxedStrategy<Value> {
    let schema = schema.clone();
    let some = any_of(&schema);
    // Null is admitted where it is nullable; elsewhere it is refused, or replaced by the default before anything is validated.
    if schema["nullable"] == true {
        Union::new_weighted(vec![(4, some), (1, Just(Value::Null).boxed())]).boxed()
    } else {
        some
    }
}

fn any_of(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(values) = schema["enum"].as_array() {
        // A null in the list counts only if the field is nullable.
        return sample::select(values.iter().filter(|it| !it.is_null()).cloned().collect::<Vec<_>>())
            .prop_map(|it| it)
            .boxed();
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return prop_oneof![any::<i64>().prop_map(Value::from), odd_text(schema)].boxed();
    }
    match schema["type"].as_str() {
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => integer(schema),
        Some("number") => prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            prop::num::f64::NORMAL.prop_map(Value::from)
        ]
        .boxed(),
        Some("string") => text(schema),
        Some("array") => {
            let length = |name: &str| schema[name].as_u64().and_then(|it| usize::try_from(it).ok());
            let (least, most) = (length("minItems").unwrap_or(0), length("maxItems").unwrap_or(3).min(3));
            prop::collection::vec(admitted(&schema["items"]), least..=most.max(least)).prop_map(Value::from).boxed()
        }
        Some("object") => object(schema),
        None if schema["x-kubernetes-preserve-unknown-fields"] == true => anything(),
        other => panic!("the generator must know {other:?}: {schema}"),
    }
}

/// Values of every type, which a schema without a type admits.
fn anything() -> BoxedStrategy<Value> {
    let deep = (0..60).fold(json!("{a}"), |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({"a": inner}) });
    sample::select(vec![
        json!(true),
        json!(-1),
        json!(1.5e300),
        json!(u64::MAX),
        json!(""),
        json!("{"),
        json!([null]),
        deep,
    ])
    .boxed()
}

fn integer(schema: &Value) -> BoxedStrategy<Value> {
    let (least, most) = match schema["format"].as_str() {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    #[allow(clippy::cast_possible_truncation, reason = "the bounds are whole numbers")]
    let bound = |name: &str| schema[name].as_f64().map(|it| it as i64);
    let (least, most) = (bound("minimum").unwrap_or(least), bound("maximum").unwrap_or(most));
    prop_oneof![Just(least), Just(most), least..=most].prop_map(Value::from).boxed()
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    let odd = odd_text(schema);
    let generated = schema["pattern"].as_str().and_then(|pattern| string_regex(pattern.trim_matches(['^', '$'])).ok());
    let Some(generated) = generated.filter(|_| schema["format"].is_null()) else { return odd };
    let is_admitted = admits(schema);
    let generated = generated.prop_filter_map("the length must fit", move |text| {
        let value = Value::from(text);
        is_admitted(&value).then_some(value)
    });
    prop_oneof![odd, generated].boxed()
}

fn odd_text(schema: &Value) -> BoxedStrategy<Value> {
    let is_admitted = admits(schema);
    let long = |unit: &str, length: usize| Value::from(unit.repeat(length / unit.len()));
    let most = schema["maxLength"].as_u64().and_then(|it| usize::try_from(it).ok()).unwrap_or(300);
    let all = ODD_TEXTS.iter().map(|text| json!(text)).chain([
        long("a", most),
        long("a", 64),
        long("a.", 64),
        long("ü", most),
    ]);
    let mut fitting: Vec<Value> = all.filter(is_admitted).collect();
    if fitting.is_empty() {
        fitting.push(json!("/aaaaaaaaaaaaaaa"));
    }
    sample::select(fitting).boxed()
}

/// Whether an API server admits a text. The format of a time is that of its library (go-openapi/strfmt), which bounds neither the
/// digits of a fraction nor an offset.
fn admits(schema: &Value) -> impl Fn(&Value) -> bool + 'static {
    let mut plain = schema.clone();
    plain.as_object_mut().unwrap().remove("format");
    let validator =
        jsonschema::options().with_pattern_options(jsonschema::PatternOptions::regex()).build(&plain).unwrap();
    let time = json!({"pattern": r"^\d{4}-\d{2}-\d{2}[tT ]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([zZ]|[+-]\d{2}:\d{2})$"});
    let time = (schema["format"] == "date-time").then(|| jsonschema::validator_for(&time).unwrap());
    move |value| {
        // strfmt knows which days a month has.
        let is_day = !value.as_str().unwrap_or_default().starts_with("2027-02-29");
        validator.is_valid(value) && time.as_ref().is_none_or(|time| time.is_valid(value) && is_day)
    }
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return prop_oneof![
            Just(json!({})),
            Just(json!({"type": "object", "properties": {"a": {"type": ["null", 1.5e300, -0.0, u64::MAX, i64::MIN]}}, "": ""})),
        ]
        .boxed();
    }
    let Some(properties) = schema["properties"].as_object() else {
        // Without fields everything is pruned.
        if schema["additionalProperties"].is_null() {
            return Just(json!({})).boxed();
        }
        let values = admitted(&schema["additionalProperties"]);
        return prop::collection::btree_map(sample::select(vec!["", "a", "ü b"]), values, 0..3)
            .prop_map(|fields| {
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
            })
            .boxed();
    };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields: BTreeMap<String, BoxedStrategy<Option<Value>>> = properties
        .iter()
        .map(|(name, schema)| {
            let value = admitted(schema);
            let field = if required.contains(&name.as_str()) {
                value.prop_map(Some).boxed()
            } else {
                prop::option::of(value).boxed()
            };
            (name.clone(), field)
        })
        .collect();
    let (names, values): (Vec<String>, Vec<_>) = fields.into_iter().unzip();
    values
        .prop_map(move |values| {
            let set = names.iter().cloned().zip(values).filter_map(|(name, value)| Some((name, value?)));
            Value::Object(set.chain([("later".to_owned(), json!({"a": [1]}))]).collect())
        })
        .boxed()
}

/// The schema of the spec in a CustomResourceDefinition.
pub fn spec_schema(file: &str) -> Value {
    let (_, definition) = manifest::all().into_iter().find(|(name, _)| *name == file).unwrap();
    let definition = serde_json::to_value(definition).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}
