//! The Service at which agents in the cluster reach the server. It lacks the admin port: kubelet and the operator query each
//! pod.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use portcullis_crds::McpServerSpec;

use super::{
    guards,
    kind::{BuiltKind, value},
    metadata::{of_server, selector},
    settings::MCP_PORT,
};
use crate::{cluster::kind::ObjectKind, object::Object};

pub const KIND: BuiltKind = BuiltKind {
    object: ObjectKind::watched("", "v1", "Service", "services"),
    is_document: false,
    needs: &[],
    is_pruned: false,
    guards: guards::SERVICE,
    build: |input| vec![value(service(input.server))],
};

fn service(server: &Object<McpServerSpec>) -> Service {
    Service {
        metadata: of_server(server, server.name().to_owned()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(selector(server.name())),
            ports: Some(vec![ServicePort {
                name: Some("mcp".into()),
                port: i32::from(MCP_PORT),
                target_port: Some(IntOrString::String("mcp".into())),
                protocol: Some("TCP".into()),
                app_protocol: Some("http".into()),
                ..ServicePort::default()
            }]),
            session_affinity: Some("None".into()),
            internal_traffic_policy: Some("Cluster".into()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
