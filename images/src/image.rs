//! What is in an image, and what it says of itself: one static binary, and a configuration.

use std::collections::HashMap;

use jiff::Timestamp;
use oci_spec::{
    OciSpecError,
    image::{
        ANNOTATION_DESCRIPTION, ANNOTATION_LICENSES, ANNOTATION_TITLE, ANNOTATION_VERSION, Arch, ConfigBuilder,
        ImageConfigurationBuilder, Os, RootFsBuilder,
    },
};
use serde_json::{Value, json};

use crate::workspace::Package;

/// A program that has an image.
#[derive(Debug)]
pub struct Program {
    /// The name of its package, of its binary, and of its image.
    pub name: &'static str,
    /// Where it listens in a pod.
    pub ports: &'static [u16],
    /// Whether it can ask a running one of itself whether it is alive.
    pub has_health: bool,
}

pub const PROGRAMS: [Program; 2] = [
    Program { name: "portcullis-server", ports: &[3000, 9090], has_health: true },
    Program { name: "portcullis-operator", ports: &[8080], has_health: true },
];

/// The API that `examples/crm` calls.
pub const EXAMPLE: Program = Program { name: "crm-api", ports: &[8080], has_health: false };

/// The agent that calls tools from inside the cluster in `make e2e`.
pub const AGENT: Program = Program { name: "e2e-agent", ports: &[], has_health: false };

/// The user `nonroot` of distroless images, which no usual node has.
const USER: &str = "65532:65532";

const SECOND: u64 = 1_000_000_000;

/// The image of a program.
pub struct Image<'a> {
    pub program: &'a Program,
    pub package: &'a Package,
    pub created: Timestamp,
    pub architecture: Arch,
    pub binary: Vec<u8>,
}

impl Image<'_> {
    /// The configuration of the image whose one layer has this digest uncompressed.
    ///
    /// # Errors
    /// Returns an error if it cannot be built, which a test would tell.
    pub fn configuration(&self, layer: &str) -> Result<Value, OciSpecError> {
        let root = RootFsBuilder::default().typ("layers").diff_ids([layer.to_owned()]).build()?;
        let image = ImageConfigurationBuilder::default()
            .created(self.created.to_string())
            .architecture(self.architecture.clone())
            .os(Os::Linux)
            .rootfs(root)
            .build()?;
        let mut image = serde_json::to_value(image)?;
        image["config"] = config(self.program, self.package)?;
        Ok(image)
    }
}

/// How a container of the image is run.
///
/// # Errors
/// Returns an error if it cannot be built, which a test would tell.
pub fn config(program: &Program, package: &Package) -> Result<Value, OciSpecError> {
    let binary = format!("/{}", program.name);
    let labels = [
        (ANNOTATION_TITLE, program.name),
        (ANNOTATION_DESCRIPTION, &package.description),
        (ANNOTATION_VERSION, &package.version),
        (ANNOTATION_LICENSES, &package.license),
    ];
    let labels: HashMap<String, String> = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = ConfigBuilder::default()
        .user(USER)
        .exposed_ports(program.ports.iter().map(|port| format!("{port}/tcp")).collect::<Vec<_>>())
        .entrypoint([binary.clone()])
        .labels(labels)
        .build()?;
    let mut config = serde_json::to_value(config)?;
    if program.has_health {
        // Docker's, with times in nanoseconds. The specification of images reserves the key for it, and the crate does not have it.
        config["Healthcheck"] = json!({
            "Test": ["CMD", binary, "health"],
            "Interval": 30 * SECOND,
            "Timeout": 5 * SECOND,
            "StartPeriod": 10 * SECOND,
            "Retries": 3,
        });
    }
    // Of the crate, a field that is absent is null.
    if let Value::Object(fields) = &mut config {
        fields.retain(|_, value| !value.is_null());
    }
    Ok(config)
}
