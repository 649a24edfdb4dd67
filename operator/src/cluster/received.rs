//! An object as the API server sent it: its metadata, and the rest as JSON text.
//!
//! Whoever may write an object decides what is in it, so that reading one must neither fail for its neighbours in a list nor use
//! the stack for its depth. Everything but the metadata stays text until somebody reads it.

use std::{borrow::Cow, collections::BTreeMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

/// An object as it was received. It may be a Secret, so that it has no `Debug`.
#[derive(Clone)]
pub struct ReceivedObject {
    pub metadata: ObjectMeta,
    json: Box<str>,
}

/// The fields of an object, by name, each as it was received.
type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

impl ReceivedObject {
    /// Reads the metadata of an object.
    ///
    /// # Errors
    /// Returns an error if the text is not a JSON object with metadata.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Object<'a> {
            #[serde(borrow)]
            metadata: &'a RawValue,
        }
        let object: Object<'_> = serde_json::from_str(json)?;
        Ok(Self { metadata: metadata(object.metadata)?, json: json.into() })
    }

    pub fn json(&self) -> &str {
        &self.json
    }

    /// A field of the object itself, such as `spec`; `None` if it is absent or null.
    pub fn field(&self, name: &str) -> Option<&RawValue> {
        let fields: Fields<'_> = serde_json::from_str(&self.json).ok()?;
        fields.get(name).copied().filter(|value| value.get() != "null")
    }

    /// The whole object.
    ///
    /// # Errors
    /// Returns an error if it is deeper than a value can be read.
    pub fn value(&self) -> Result<Value, serde_json::Error> {
        self.decode()
    }

    /// The object as a type.
    ///
    /// # Errors
    /// Returns an error if it cannot be decoded as that type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.json)
    }
}

/// Reads metadata. A field that cannot be decoded is left out, such as a time that Kubernetes accepts and the type does not hold:
/// what identifies an object is always text. The managedFields are left out too: they are as deep as the object, and only the
/// comparison of whole objects needs them.
fn metadata(raw: &RawValue) -> Result<ObjectMeta, serde_json::Error> {
    let mut fields: Fields<'_> = serde_json::from_str(raw.get())?;
    fields.remove("managedFields");
    let whole = fields.iter().filter_map(|(name, value)| Some((name.clone().into_owned(), decoded(value)?))).collect();
    Ok(decodable(whole))
}

fn decoded(value: &RawValue) -> Option<Value> {
    serde_json::from_str(value.get()).ok()
}

/// The metadata of an object that was read as a value, without what cannot be decoded.
pub fn decodable(fields: serde_json::Map<String, Value>) -> ObjectMeta {
    if let Ok(metadata) = ObjectMeta::deserialize(&Value::Object(fields.clone())) {
        return metadata;
    }
    let is_decodable = |(name, value): &(String, Value)| {
        let alone = serde_json::Map::from_iter([(name.clone(), value.clone())]);
        ObjectMeta::deserialize(Value::Object(alone)).is_ok()
    };
    let fields = fields.into_iter().filter(is_decodable).collect();
    ObjectMeta::deserialize(Value::Object(fields)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_of_any_depth_is_read_without_what_is_deep_in_it() {
        let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
        let text = format!(r#"{{"spec":{deep},"metadata":{{"name":"a","uid":"u"}},"status":null}}"#);
        let object = ReceivedObject::parse(&text).unwrap();
        assert_eq!((object.metadata.name.as_deref(), object.metadata.uid.as_deref()), (Some("a"), Some("u")));
        assert_eq!(object.field("spec").map(|spec| spec.get().len()), Some(deep.len()));
        assert!(object.field("status").is_none() && object.field("later").is_none());
        assert!(object.decode::<Value>().is_err());
    }

    #[test]
    fn metadata_is_read_without_the_fields_that_cannot_be_decoded() {
        let metadata = |metadata: Value| ReceivedObject::parse(&json!({"metadata": metadata}).to_string());
        let read = metadata(json!({
            "name": "a", "creationTimestamp": "9999-12-31T23:59:59Z", "labels": {"a": "b"}, "generation": 3,
            "managedFields": [{"manager": "a", "time": "9999-12-31T23:59:59Z"}], "deletionGracePeriodSeconds": "soon",
        }));
        let expected = ObjectMeta {
            name: Some("a".into()),
            generation: Some(3),
            labels: Some(BTreeMap::from([("a".into(), "b".into())])),
            ..ObjectMeta::default()
        };
        assert_eq!(read.unwrap().metadata, expected);
        assert!(metadata(json!(7)).is_err());
    }
}
