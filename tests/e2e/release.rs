//! The release of the chart: packages of it, of this version and of an older one, and what Helm does with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_tests::{ControlPlane, repository, tool};
use serde_json::Value;

/// The namespace of the release, and of the operator.
pub const NAMESPACE: &str = "portcullis-system";
/// The version of the chart, and the tag of the images.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The tag of the same images under another name, as after an upgrade.
pub const UPGRADED_TAG: &str = "upgraded";
/// What the definitions of the older chart lack.
pub const ADDED: [(&str, &str); 2] = [("mcpclients", "suspended"), ("mcpservers", "logLevel")];

const NAME: &str = "portcullis";
const OLDER_VERSION: &str = "0.0.1";
/// Where the properties of a spec are in a definition.
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";

/// Helm, the packages, and the release that they are installed as.
pub struct Release {
    program: PathBuf,
    kubeconfig: PathBuf,
    folder: PathBuf,
}

impl Release {
    /// Packages the chart twice: as it is, and as an older version with the definitions of its time.
    pub fn package(cluster: &ControlPlane) -> Self {
        let folder = cluster.folder().join("helm");
        std::fs::create_dir(&folder).unwrap();
        let release = Self { program: tool("helm").unwrap(), kubeconfig: cluster.kubeconfig(), folder };
        let (chart, destination) = (repository("charts/portcullis"), release.folder.to_str().unwrap());
        release.helm(&["package", &chart, "--destination", destination]);

        let older = release.folder.join(NAME);
        assert!(Command::new("cp").arg("-r").arg(&chart).arg(&older).status().unwrap().success());
        for (resource, property) in ADDED {
            let file = release.older_definitions().join(format!("{resource}.yaml"));
            let mut definition = definition(&file);
            let properties = definition.pointer_mut(SPEC).unwrap().as_object_mut().unwrap();
            properties.remove(property).expect("the release must have the property");
            std::fs::write(file, definition.to_string()).unwrap();
        }
        let older = older.to_str().unwrap();
        release.helm(&["package", older, "--version", OLDER_VERSION, "--destination", destination]);
        release
    }

    /// Installs the chart, and waits until the operator is ready.
    pub fn install(&self) {
        let package = self.chart(VERSION);
        self.helm(&["install", NAME, &package, "-n", NAMESPACE, "--create-namespace", "--wait", "--timeout=2m"]);
    }

    /// Installs the older chart, without the Job that would bring the definitions to those of the operator.
    pub fn install_older(&self) {
        let package = self.chart(OLDER_VERSION);
        self.helm(&["install", NAME, &package, "-n", NAMESPACE, "--set", "crds.upgrade=false"]);
    }

    /// Upgrades the release to this version of the chart with these options.
    pub fn upgrade(&self, options: &[&str]) {
        let package = self.chart(VERSION);
        self.helm(&[&["upgrade", NAME, &package, "-n", NAMESPACE, "--timeout=2m"], options].concat());
    }

    /// Runs `helm test`.
    pub fn test(&self) {
        self.helm(&["test", NAME, "-n", NAMESPACE]);
    }

    pub fn uninstall(&self) {
        self.helm(&["uninstall", NAME, "-n", NAMESPACE, "--wait", "--timeout=2m"]);
    }

    /// The folder of the definitions of the older chart.
    pub fn older_definitions(&self) -> PathBuf {
        self.folder.join(NAME).join("crds")
    }

    fn chart(&self, version: &str) -> String {
        self.folder.join(format!("{NAME}-{version}.tgz")).to_str().unwrap().to_owned()
    }

    fn helm(&self, arguments: &[&str]) {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig);
        for home in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(home, self.folder.join("home"));
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "helm {arguments:?}: {text}");
    }
}

/// A definition in a file.
pub fn definition(file: &Path) -> Value {
    serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}
