//! `crds apply`: brings the CustomResourceDefinitions of a cluster to those of this release.
//!
//! A definition that is missing is created, and the spec of one that differs is replaced as a whole, whoever wrote it: Helm creates
//! definitions and never changes them, and server-side apply would leave what others own. Metadata stays, but for the annotation that
//! says of which release a definition is. One of a newer release is left alone: an older operator works with it, and what only it has
//! would be lost. A definition is refused if it is not Portcullis's, or if objects could be lost.

use std::{
    io::{self, Write},
    time::Duration,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceConversion, CustomResourceDefinition, CustomResourceDefinitionSpec,
};
use portcullis_crds::manifest;
use semver::Version;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Error as ClusterError, client::ConnectError, fence::Fence};

/// How long what fails is tried again, for each definition.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause after a request that failed, and before a definition is looked at again.
const AGAIN: Duration = Duration::from_millis(500);
/// The annotation with which Helm marks what belongs to the templates of a release.
const HELM_RELEASE: &str = "meta.helm.sh/release-name";

/// Why a definition is not that of this release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(
        "CustomResourceDefinition {name} is for {found}, and Portcullis's is for {wanted}: it belongs to somebody else, and stays as it is"
    )]
    Foreign { name: String, found: String, wanted: String },
    #[error(
        "CustomResourceDefinition {name} belongs to {owner}, which would undo a change: it stays as it is. Upgrade it there, and install \
         with crds.upgrade=false, or remove what says that it belongs to it"
    )]
    Owned { name: String, owner: String },
    #[error(
        "CustomResourceDefinition {name} has objects that are stored as {versions}, and this release does not serve that: it stays as it \
         is. Install a release that serves it, store each object again, and remove the version from status.storedVersions"
    )]
    Stored { name: String, versions: String },
    #[error(
        "CustomResourceDefinition {name} is being deleted, and was not gone after {PATIENCE:?}: it may have finalizers"
    )]
    Terminating { name: String },
    #[error("CustomResourceDefinition {name} is not established after {PATIENCE:?}: {reason}")]
    NotEstablished { name: String, reason: String },
    #[error("stdout: {0}")]
    Output(#[from] io::Error),
}

/// What was done about a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Created,
    Replaced,
    Unchanged,
    /// It is of this newer release, and was left alone.
    Newer(Version),
}

/// Applies each definition to the cluster of the kubeconfig, or of this pod, and prints what was done.
///
/// # Errors
/// Returns an error if the cluster refuses, does not answer for too long, or has a definition that must not be replaced.
pub async fn apply(mut out: impl Write) -> Result<(), Error> {
    let cluster = Cluster::connect(Fence::open()).await?;
    for (_, definition) in manifest::all() {
        let name = definition.metadata.name.clone().unwrap_or_default();
        let end = Instant::now() + PATIENCE;
        let outcome = bring(&cluster, &name, &with_defaults(definition), end).await?;
        established(&cluster, &name, end).await?;
        let done = match outcome {
            Outcome::Created => "created".to_owned(),
            Outcome::Replaced => "replaced, because it was not that of this release".to_owned(),
            Outcome::Unchanged => "is that of this release".to_owned(),
            Outcome::Newer(release) => format!("stays as it is, because it is that of the newer release {release}"),
        };
        writeln!(out, "CustomResourceDefinition {name}: {done}")?;
    }
    Ok(())
}

/// Creates or replaces a definition, until it is that of this release.
async fn bring(
    cluster: &Cluster,
    name: &str,
    wanted: &CustomResourceDefinition,
    end: Instant,
) -> Result<Outcome, Error> {
    loop {
        let error = match attempt(cluster, name, wanted).await {
            Ok(outcome) => return Ok(outcome),
            Err(Error::Cluster(error)) if error.is_permanent() => return Err(error.into()),
            Err(error @ (Error::Cluster(_) | Error::Terminating { .. })) => error,
            Err(error) => return Err(error),
        };
        if Instant::now() >= end {
            return Err(error);
        }
        let is_conflict = matches!(&error, Error::Cluster(error) if error.is_conflict());
        sleep(if is_conflict { AGAIN / 10 } else { AGAIN }).await;
    }
}

async fn attempt(cluster: &Cluster, name: &str, wanted: &CustomResourceDefinition) -> Result<Outcome, Error> {
    let Some(live) = cluster.definition(name).await? else {
        cluster.create_definition(name, wanted).await?;
        return Ok(Outcome::Created);
    };
    if live.metadata.deletion_timestamp.is_some() {
        return Err(Error::Terminating { name: name.to_owned() });
    }
    let (found, ours) = (release(&live), release(wanted));
    if live.spec == wanted.spec && found == ours {
        return Ok(Outcome::Unchanged);
    }
    check(name, &live, &wanted.spec)?;
    if let Some(newer) = found.filter(|found| Some(found) > ours.as_ref()) {
        return Ok(Outcome::Newer(newer));
    }
    let mut replaced = CustomResourceDefinition { metadata: live.metadata, ..wanted.clone() };
    replaced
        .metadata
        .annotations
        .get_or_insert_default()
        .extend(wanted.metadata.annotations.clone().unwrap_or_default());
    cluster.replace_definition(name, &replaced).await?;
    Ok(Outcome::Replaced)
}

/// The release that a definition is of, if it says so.
fn release(definition: &CustomResourceDefinition) -> Option<Version> {
    let stated = definition.metadata.annotations.as_ref()?.get(manifest::RELEASE)?;
    Version::parse(stated).ok()
}

/// Whether a definition may be replaced.
fn check(name: &str, live: &CustomResourceDefinition, wanted: &CustomResourceDefinitionSpec) -> Result<(), Error> {
    let name = || name.to_owned();
    let kind = |spec: &CustomResourceDefinitionSpec| format!("{} {} of {}", spec.scope, spec.names.kind, spec.group);
    if kind(&live.spec) != kind(wanted) {
        return Err(Error::Foreign { name: name(), found: kind(&live.spec), wanted: kind(wanted) });
    }
    if let Some(owner) = owner(live) {
        return Err(Error::Owned { name: name(), owner });
    }
    let stored = live.status.iter().flat_map(|status| status.stored_versions.iter().flatten());
    let lost: Vec<&str> =
        stored.map(String::as_str).filter(|it| !wanted.versions.iter().any(|v| v.name == *it)).collect();
    match lost.is_empty() {
        true => Ok(()),
        false => Err(Error::Stored { name: name(), versions: lost.join(", ") }),
    }
}

/// Who would put a definition back.
fn owner(live: &CustomResourceDefinition) -> Option<String> {
    let owners = live.metadata.owner_references.iter().flatten();
    let controller =
        owners.filter(|it| it.controller == Some(true)).map(|it| format!("{} {}", it.kind, it.name)).next();
    let release = live.metadata.annotations.as_ref().and_then(|all| all.get(HELM_RELEASE));
    controller.or_else(|| release.map(|release| format!("the templates of the Helm release {release}")))
}

/// Waits until the API server serves a definition.
async fn established(cluster: &Cluster, name: &str, end: Instant) -> Result<(), Error> {
    loop {
        let reason = match cluster.definition(name).await {
            Ok(Some(definition)) => match trouble(&definition) {
                None => return Ok(()),
                Some(reason) => reason,
            },
            Ok(None) => "it was deleted".to_owned(),
            Err(error) if error.is_permanent() => return Err(error.into()),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= end {
            return Err(Error::NotEstablished { name: name.to_owned(), reason });
        }
        sleep(AGAIN / 5).await;
    }
}

/// Why a definition is not served, if it is not.
fn trouble(definition: &CustomResourceDefinition) -> Option<String> {
    let conditions = || definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if conditions().any(|it| it.type_ == "Established" && it.status == "True") {
        return None;
    }
    let refused = conditions().find(|it| it.type_ == "NamesAccepted" && it.status == "False");
    let message = refused.and_then(|condition| condition.message.clone());
    Some(message.unwrap_or_else(|| "the API server has not accepted it yet".to_owned()))
}

/// A definition with what the API server adds to it (`SetDefaults_CustomResourceDefinitionSpec`).
fn with_defaults(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let spec = &mut definition.spec;
    let kind = &spec.names.kind;
    spec.names.singular.get_or_insert_with(|| kind.to_lowercase());
    spec.names.list_kind.get_or_insert_with(|| format!("{kind}List"));
    spec.conversion.get_or_insert_with(|| CustomResourceConversion { strategy: "None".into(), webhook: None });
    definition
}

#[cfg(test)]
mod tests;
