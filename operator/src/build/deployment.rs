//! The Deployment: what the pods run, what they mount, and what they are kept from (restricted Pod Security).
//!
//! The policy's revision is not in the template: a change of policy never replaces a pod.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMapProjection, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
            KeyToPath, LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
            ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecretProjection, SecurityContext,
            TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use portcullis_crds::{
    McpServerSpec, SecretKeyRef,
    contract::{CREDENTIALS_FILE, LONGEST_TIMEOUT, POLICY_FILE, Version},
    name::ObjectName,
    quantity,
};
use serde_json::Value;

use super::{
    document_names::DocumentName,
    guards,
    kind::{BuiltKind, value},
    metadata::{self, config_map_name, credentials_secret_name, labels, of_server},
    settings::{ADMIN_PORT, MCP_PORT, Settings},
};
use crate::{cluster::kind::ObjectKind, object::Object};

pub const KIND: BuiltKind = BuiltKind {
    object: ObjectKind::watched("apps", "v1", "Deployment", "deployments"),
    is_document: false,
    needs: &["ServiceAccount", "ConfigMap", "Secret"],
    is_pruned: false,
    guards: guards::DEPLOYMENT,
    build: |input| {
        let deployment = |pods| value(deployment(input.server, pods, input.names.mounted, input.settings));
        input.pods.iter().map(deployment).collect()
    },
};

/// The name of the one container.
const CONTAINER: &str = "server";
/// The name of the volume with the documents.
pub(super) const VOLUME: &str = "config";
/// Where the server finds its documents.
const CONFIG: &str = "/etc/portcullis/config";
/// The name of the volume with the values of the Secrets that the backends need.
const SECRETS_VOLUME: &str = "secrets";
/// Where the server finds them.
const SECRETS: &str = "/etc/portcullis/secrets";
/// The user `nonroot` of distroless images, which no usual node has.
const USER: i64 = 65532;
/// How long a pod that is being deleted still accepts calls, in seconds: until every node has stopped sending them.
const DRAIN: i64 = 5;
/// After that, how long it may take beyond the calls in progress: to receive their arguments, to have their answers read, and to
/// write its last audit records, in seconds. The server stops by itself within this time.
const FINISH: i64 = 45;
/// The same for any policy, because a change of policy never replaces a pod. It costs nothing: a pod ends when its calls have.
const GRACE: i64 = DRAIN + LONGEST_TIMEOUT.to_std().as_secs().cast_signed() + FINISH;

/// What a Deployment has of its server's spec. All else is the same for every server.
#[derive(Clone, Debug, PartialEq)]
pub struct PodSettings {
    replicas: i32,
    resources: ResourceRequirements,
    /// The keys of Secrets that are mounted.
    secrets: BTreeSet<SecretKeyRef>,
}

impl PodSettings {
    pub fn of_spec(spec: &McpServerSpec) -> Self {
        let resources = spec.pod.as_ref().and_then(|pod| pod.resources.clone()).map(canonical);
        let resources = resources.unwrap_or_else(modest_resources);
        Self { replicas: i32::from(spec.replicas()), resources, secrets: spec.secrets() }
    }

    /// What the Deployment of an earlier run has of a spec that is no longer known. Anybody may have changed it since: nothing of it
    /// is a privilege.
    pub fn of_deployment(live: &Value) -> Self {
        let containers = live.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let container = containers.and_then(|all| all.iter().find(|container| container["name"] == CONTAINER));
        let resources = container.map(|it| &it["resources"]);
        let amounts =
            |name| resources.and_then(|resources| serde_json::from_value(resources[name].clone()).ok()).flatten();
        Self {
            replicas: live["spec"]["replicas"].as_i64().and_then(|it| i32::try_from(it).ok()).unwrap_or(1),
            resources: ResourceRequirements { requests: amounts("requests"), limits: amounts("limits"), claims: None },
            secrets: mounted_secrets(live),
        }
    }
}

/// The keys of Secrets that a Deployment mounts as [`secrets_volume`] does. The server sends none of them that its policy does not name.
fn mounted_secrets(live: &Value) -> BTreeSet<SecretKeyRef> {
    let volumes = live.pointer("/spec/template/spec/volumes").and_then(Value::as_array);
    let volume = volumes.and_then(|all| all.iter().find(|volume| volume["name"] == SECRETS_VOLUME));
    let sources = volume.and_then(|volume| volume.pointer("/projected/sources")).and_then(Value::as_array);
    let secrets = sources.into_iter().flatten().filter_map(|source| source.get("secret"));
    let keys = secrets.flat_map(|secret| {
        let name: Option<ObjectName> = secret["name"].as_str().and_then(|name| name.parse().ok());
        let items = secret["items"].as_array().into_iter().flatten();
        let keys = items.filter_map(|item| item["key"].as_str()?.parse().ok());
        let reference = |key| name.clone().map(|name| SecretKeyRef { name, key });
        keys.filter_map(reference).collect::<Vec<_>>()
    });
    keys.collect()
}

fn deployment(
    server: &Object<McpServerSpec>,
    pods: &PodSettings,
    documents: DocumentName,
    settings: &Settings,
) -> Deployment {
    let selector = LabelSelector { match_labels: Some(metadata::selector(server.name())), ..LabelSelector::default() };
    Deployment {
        metadata: of_server(server, server.name().to_owned()),
        spec: Some(DeploymentSpec {
            replicas: Some(pods.replicas),
            selector: selector.clone(),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::String("25%".into())),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(2),
            progress_deadline_seconds: Some(600),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(server.name())), ..ObjectMeta::default() }),
                spec: Some(pod(server.name(), pods, documents, settings, selector)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(
    name: &str,
    pods: &PodSettings,
    documents: DocumentName,
    settings: &Settings,
    selector: LabelSelector,
) -> PodSpec {
    PodSpec {
        service_account_name: Some(name.to_owned()),
        // The deprecated name of the same field, which the API server fills in.
        service_account: Some(name.to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        image_pull_secrets: pull_secrets(settings),
        containers: vec![container(pods, settings)],
        volumes: Some([config_volume(name, documents)].into_iter().chain(secrets_volume(&pods.secrets)).collect()),
        termination_grace_period_seconds: Some(GRACE),
        // On different nodes if there are any, so that a node that fails does not take the server with it.
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(selector),
            ..TopologySpreadConstraint::default()
        }]),
        restart_policy: Some("Always".into()),
        dns_policy: Some("ClusterFirst".into()),
        scheduler_name: Some("default-scheduler".into()),
        ..PodSpec::default()
    }
}

/// `None` if there are none: the API server leaves out an empty list.
fn pull_secrets(settings: &Settings) -> Option<Vec<LocalObjectReference>> {
    let names = || settings.image_pull_secrets.iter().cloned();
    (!settings.image_pull_secrets.is_empty()).then(|| names().map(|name| LocalObjectReference { name }).collect())
}

fn container(pods: &PodSettings, settings: &Settings) -> Container {
    Container {
        name: CONTAINER.into(),
        image: Some(settings.server_image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.clone()),
        args: Some(args(pods)),
        env: Some(vec![downward("POD_NAME", "metadata.name"), downward("POD_UID", "metadata.uid")]),
        ports: Some(vec![port("mcp", MCP_PORT), port("admin", ADMIN_PORT)]),
        resources: Some(pods.resources.clone()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), ..Capabilities::default() }),
            ..SecurityContext::default()
        }),
        startup_probe: Some(probe("/readyz", 1, 60)),
        readiness_probe: Some(probe("/readyz", 5, 2)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        volume_mounts: Some(
            [mount(VOLUME, CONFIG)]
                .into_iter()
                .chain((!pods.secrets.is_empty()).then(|| mount(SECRETS_VOLUME, SECRETS)))
                .collect(),
        ),
        termination_message_path: Some("/dev/termination-log".into()),
        termination_message_policy: Some("File".into()),
        ..Container::default()
    }
}

fn args(pods: &PodSettings) -> Vec<String> {
    let mut args = vec![
        "--config".into(),
        CONFIG.into(),
        "--listen".into(),
        format!("[::]:{MCP_PORT}"),
        "--admin".into(),
        format!("[::]:{ADMIN_PORT}"),
        "--drain".into(),
        DRAIN.to_string(),
    ];
    // Without any the template is what it was before servers had some, so that no pod is replaced.
    if !pods.secrets.is_empty() {
        args.extend(["--secrets".into(), SECRETS.into()]);
    }
    args
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.into(), mount_path: path.into(), read_only: Some(true), ..VolumeMount::default() }
}

/// The values that the backends need, each as the file `<name of the Secret>/<key>`; `None` if there is none. In a volume of its own,
/// and optional, so that a Secret that is missing holds up neither a pod nor a change of the policy.
fn secrets_volume(secrets: &BTreeSet<SecretKeyRef>) -> Option<Volume> {
    let mut by_secret: BTreeMap<&ObjectName, Vec<KeyToPath>> = BTreeMap::new();
    for secret in secrets {
        let path = secret.file().to_string_lossy().into_owned();
        by_secret.entry(&secret.name).or_default().push(KeyToPath { key: secret.key.to_string(), path, mode: None });
    }
    let source = |(name, items): (&ObjectName, Vec<KeyToPath>)| VolumeProjection {
        secret: Some(SecretProjection { name: name.to_string(), items: Some(items), optional: Some(true) }),
        ..VolumeProjection::default()
    };
    let sources: Vec<_> = by_secret.into_iter().map(source).collect();
    (!sources.is_empty()).then(|| Volume {
        name: SECRETS_VOLUME.into(),
        projected: Some(ProjectedVolumeSource { default_mode: Some(0o440), sources: Some(sources) }),
        ..Volume::default()
    })
}

/// Both documents in one directory. Neither is optional: a pod starts once both exist.
fn config_volume(server: &str, documents: DocumentName) -> Volume {
    let file = |file: &str| Some(vec![KeyToPath { key: file.into(), path: file.into(), mode: None }]);
    Volume {
        name: VOLUME.into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(vec![
                VolumeProjection {
                    config_map: Some(ConfigMapProjection {
                        name: config_map_name(server, Version::CURRENT, documents),
                        items: file(POLICY_FILE),
                        optional: None,
                    }),
                    ..VolumeProjection::default()
                },
                VolumeProjection {
                    secret: Some(SecretProjection {
                        name: credentials_secret_name(server, Version::CURRENT, documents),
                        items: file(CREDENTIALS_FILE),
                        optional: None,
                    }),
                    ..VolumeProjection::default()
                },
            ]),
        }),
        ..Volume::default()
    }
}

fn downward(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.into(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { api_version: Some("v1".into()), field_path: path.into() }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: i32::from(number),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

/// What a server with little traffic needs. There is no limit of CPU, for throttling would slow every call.
fn modest_resources() -> ResourceRequirements {
    let quantities = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs.iter().map(|(name, quantity)| ((*name).to_owned(), Quantity((*quantity).to_owned()))).collect()
    };
    ResourceRequirements {
        requests: Some(quantities(&[("cpu", "50m"), ("memory", "64Mi")])),
        limits: Some(quantities(&[("memory", "256Mi")])),
        ..ResourceRequirements::default()
    }
}

/// With amounts spelled as the API server spells them.
fn canonical(resources: ResourceRequirements) -> ResourceRequirements {
    let spell = |quantities: Option<BTreeMap<String, Quantity>>| {
        let spelled = |Quantity(text): Quantity| {
            Quantity(text.parse::<quantity::Quantity>().map_or(text, |parsed| parsed.to_string()))
        };
        quantities.map(|all| all.into_iter().map(|(name, quantity)| (name, spelled(quantity))).collect())
    };
    ResourceRequirements { requests: spell(resources.requests), limits: spell(resources.limits), claims: None }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String("admin".into()),
            scheme: Some("HTTP".into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        success_threshold: Some(1),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
