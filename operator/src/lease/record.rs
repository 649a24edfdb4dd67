//! What a Lease says. Whoever may write it may write anything into it, so that each field is read on its own.

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use serde_json::{Value, json};

use super::{TERM, holder::Holder};
use crate::{cluster::received::ReceivedObject, mapping::Mapping};

/// The annotation with the facts about the holder.
pub const ANNOTATION: &str = "portcullis.dev/holder";
/// The longest term that is waited for.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub version: Option<String>,
    /// `None` if it was given back.
    pub holder: Option<String>,
    /// What is known about that holder.
    pub facts: Option<Holder>,
    pub acquired: Option<String>,
    pub renewed: Option<String>,
    seconds: Option<u64>,
    pub transitions: i32,
}

impl Record {
    pub fn new(lease: &ReceivedObject) -> Self {
        let spec: Value =
            lease.field("spec").and_then(|spec| serde_json::from_str(spec.get()).ok()).unwrap_or_default();
        let text = |name: &str| spec[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let annotation = lease.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
        let holder = text("holderIdentity");
        let facts = annotation.and_then(|facts| serde_json::from_str::<Mapping<Holder>>(facts).ok());
        Self {
            version: lease.metadata.resource_version.clone(),
            // Another program may have set the holder and left the annotation.
            facts: facts.map(|Mapping(facts)| facts).filter(|facts| holder.as_ref() == Some(&facts.identity)),
            holder,
            acquired: text("acquireTime"),
            renewed: text("renewTime"),
            seconds: spec["leaseDurationSeconds"].as_u64(),
            transitions: spec["leaseTransitions"].as_i64().and_then(|it| i32::try_from(it).ok()).unwrap_or_default(),
        }
    }

    /// How long the holder stays it without renewing.
    pub fn term(&self) -> Duration {
        self.seconds.map_or(TERM, Duration::from_secs).min(LONGEST)
    }

    /// Whether the term is over by the clock, if the holder has the clock of this machine.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let renewed = self.renewed.as_ref().and_then(|renewed| renewed.parse::<Timestamp>().ok());
        let age = renewed.and_then(|renewed| Duration::try_from(now.duration_since(renewed)).ok());
        age.is_some_and(|age| age >= self.term())
    }
}

/// The time as the API has it.
pub fn now() -> Value {
    json!(MicroTime(Timestamp::now()))
}

#[cfg(test)]
mod tests {
    use super::{super::holder::HolderPod, *};

    #[test]
    fn the_facts_about_a_holder_are_a_mapping_and_so_is_its_pod() {
        let pod = HolderPod { namespace: "ops".into(), name: "op".into(), uid: "u".into() };
        let holder = Holder { identity: "h".into(), pod: Some(pod), ..Holder::this_process(false) };
        let facts = json!(holder);
        let (mut of_list, mut without) = (facts.clone(), facts.clone());
        of_list["pod"] = json!(["ops", "op", "u"]);
        without["pod"] = Value::Null;
        let listed = json!(["h", "host", 1, 2, "boot", "pid", null]);
        for (facts, expected) in [
            (facts, Some(holder.clone())),
            (without, Some(Holder { pod: None, ..holder })),
            (of_list, None),
            (listed, None),
        ] {
            let lease = json!({
                "metadata": {"annotations": {ANNOTATION: facts.to_string()}}, "spec": {"holderIdentity": "h"},
            });
            let record = Record::new(&ReceivedObject::parse(&lease.to_string()).unwrap());
            assert_eq!((record.holder.as_deref(), record.facts), (Some("h"), expected), "{facts}");
        }
    }
}
