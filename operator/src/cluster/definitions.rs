//! CustomResourceDefinitions, as `crds apply` reads and writes them. The operator that runs has the right to read them only.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    api::{GetParams, PostParams},
    core::{ApiResource, Request},
};

use super::{
    client::{CALL, Cluster, call, requests_in},
    error::Error,
    managed_fields::FIELD_MANAGER,
    scope::Scope,
};
use crate::metrics::ApiVerb;

impl Cluster {
    /// A definition as it is now; `None` if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer.
    pub async fn definition(&self, name: &str) -> Result<Option<CustomResourceDefinition>, Error> {
        let request = self.of_definition(ApiVerb::Get, requests().get(name, &GetParams::default()));
        match call(format!("reading CustomResourceDefinition {name}"), CALL, request).await {
            Ok(definition) => Ok(Some(definition)),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a definition; its name must be free.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, or the fence is closed.
    pub async fn create_definition(
        &self,
        name: &str,
        definition: &CustomResourceDefinition,
    ) -> Result<CustomResourceDefinition, Error> {
        let request = requests().create(&written(), serde_json::to_vec(definition)?);
        let doing = format!("creating CustomResourceDefinition {name}");
        self.write(doing, self.of_definition(ApiVerb::Create, request)).await
    }

    /// Replaces the version of a definition that its metadata names.
    ///
    /// # Errors
    /// Returns an error if the API server refuses or does not answer, if it has another version by then, or the fence is closed.
    pub async fn replace_definition(
        &self,
        name: &str,
        definition: &CustomResourceDefinition,
    ) -> Result<CustomResourceDefinition, Error> {
        let request = requests().replace(name, &written(), serde_json::to_vec(definition)?);
        let doing = format!("replacing CustomResourceDefinition {name}");
        // `run` replaces nothing, so that there is no word for it among those that are counted.
        self.write(doing, self.of_definition(ApiVerb::Patch, request)).await
    }

    /// The definition that a request is answered with.
    async fn of_definition(
        &self,
        verb: ApiVerb,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<CustomResourceDefinition, kube::Error> {
        let text = self.text(verb, &resource().plural, request).await?;
        serde_json::from_str(&text).map_err(kube::Error::SerdeError)
    }
}

fn resource() -> ApiResource {
    ApiResource::erase::<CustomResourceDefinition>(&())
}

fn requests() -> Request {
    requests_in(&resource(), &Scope::All)
}

fn written() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
