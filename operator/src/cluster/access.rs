//! What the operator's account may do. Asking for it is no write.

use std::fmt;

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::{api::PostParams, core::ApiResource};
use serde::Deserialize;
use serde_json::json;

use super::{
    client::{CALL, Cluster, call, requests_in},
    error::Error,
    scope::Scope,
};
use crate::metrics::ApiVerb;

/// One verb on one resource, printed as `create secrets`, or `get leases portcullis-operator in portcullis-system`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    pub resource: String,
    pub subresource: Option<String>,
    /// The only object that it is needed for, if there is one.
    pub name: Option<String>,
    /// The only namespace that it is needed in, if there is one.
    pub namespace: Option<String>,
}

/// What the API server says of a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Allowed,
    Denied,
    /// It is not allowed, but an authorizer failed, so that it may be allowed later.
    Unsure,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, group: _, resource, subresource, name, namespace } = self;
        write!(f, "{verb} {resource}")?;
        for (before, part) in [("/", subresource), (" ", name), (" in ", namespace)] {
            if let Some(part) = part {
                write!(f, "{before}{part}")?;
            }
        }
        Ok(())
    }
}

impl Cluster {
    /// Whether the operator's account has a right, as the API server says.
    ///
    /// # Errors
    /// Returns an error if the API server refuses to say or does not answer.
    pub async fn may(&self, right: &Right) -> Result<Answer, Error> {
        #[derive(Deserialize)]
        struct Review {
            status: Status,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            allowed: bool,
            #[serde(default)]
            evaluation_error: String,
        }
        let Right { verb, group, resource, subresource, name, namespace } = right;
        let attributes = json!({
            "verb": verb, "group": group, "resource": resource, "subresource": subresource, "name": name,
            "namespace": namespace,
        });
        let reviews = ApiResource::erase::<SelfSubjectAccessReview>(&());
        let review = json!({
            "apiVersion": reviews.api_version, "kind": reviews.kind, "spec": {"resourceAttributes": attributes},
        });
        let request =
            requests_in(&reviews, &Scope::All).create(&PostParams::default(), review.to_string().into_bytes());
        let answer = async {
            let text = self.text(ApiVerb::Create, &reviews.plural, request).await?;
            serde_json::from_str::<Review>(&text).map_err(kube::Error::SerdeError)
        };
        let status = call(format!("asking whether the account may {right}"), CALL, answer).await?.status;
        Ok(match (status.allowed, status.evaluation_error.is_empty()) {
            (true, _) => Answer::Allowed,
            (false, true) => Answer::Denied,
            (false, false) => Answer::Unsure,
        })
    }
}
