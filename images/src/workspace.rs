//! What cargo, the compiler and the system say of the workspace and of the crates of a program.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, io,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
};

use oci_spec::image::Arch;
use serde::Deserialize;

/// Why the sources cannot be compiled or described.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("{0} cannot be started: {1}")]
    Start(String, io::Error),
    #[error("{0} failed: {1}")]
    Status(String, ExitStatus),
    #[error("{0} answered something unexpected: {1}")]
    Answer(String, String),
    #[error("the workspace has no package {0} with a version, a description and a license")]
    Package(String),
    #[error("cargo compiled no program {0}")]
    Missing(String),
    #[error("neither CARGO_HOME nor HOME is set")]
    NoHome,
    #[error("{0}: a path with spaces cannot be kept out of what C compilers write; build in another folder")]
    Folder(PathBuf),
    #[error("there are no images for {0}")]
    Architecture(String),
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub description: String,
    pub license: String,
}

#[derive(Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub target_directory: PathBuf,
    /// The target that is compiled for: that of this machine.
    pub host: String,
    /// The version of the compiler.
    rustc: String,
    packages: Vec<Package>,
}

/// A crate in the dependencies of a program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Crate {
    /// An expression of SPDX, with the `/` of old manifests as `OR`.
    pub license: Option<String>,
    pub repository: Option<String>,
    /// The SHA-256 of its archive in the registry; none for one of the workspace.
    pub checksum: Option<String>,
    /// The names and versions of those that it uses.
    pub uses: BTreeSet<(String, String)>,
}

/// The crates of a program, by name and version.
pub type Crates = BTreeMap<(String, String), Crate>;

/// What a static program contains beside its crates.
#[derive(Debug)]
pub struct Toolchain {
    /// The version of Rust's standard library.
    pub rust: String,
    /// The name and version of the C library.
    pub libc: Option<(String, String)>,
}

impl Workspace {
    /// Reads that of the current folder.
    ///
    /// # Errors
    /// Returns an error if cargo or the compiler fails.
    pub fn read() -> Result<Self, Failed> {
        #[derive(Deserialize)]
        struct Metadata {
            workspace_root: PathBuf,
            target_directory: PathBuf,
            packages: Vec<serde_json::Value>,
        }
        let text = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: Metadata = serde_json::from_str(&text).map_err(|error| unexpected("cargo metadata", error))?;
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let version = output(rustc.arg("-vV").current_dir(&metadata.workspace_root))?;
        let field = |name: &str| {
            let value = version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.map(str::to_owned).ok_or_else(|| unexpected("rustc -vV", format!("no {name}")))
        };
        // Packages without a description have no image.
        let packages = metadata.packages.into_iter().filter_map(|package| serde_json::from_value(package).ok());
        Ok(Self {
            root: metadata.workspace_root,
            target_directory: metadata.target_directory,
            host: field("host")?,
            rustc: field("release")?,
            packages: packages.collect(),
        })
    }

    /// A package by its name.
    ///
    /// # Errors
    /// Returns an error if there is none, or if it lacks what an image says.
    pub fn package(&self, name: &str) -> Result<&Package, Failed> {
        self.packages.iter().find(|package| package.name == name).ok_or_else(|| Failed::Package(name.to_owned()))
    }

    /// What the images call the architecture of this machine.
    ///
    /// # Errors
    /// Returns an error if there are no images for it.
    pub fn architecture(&self) -> Result<Arch, Failed> {
        match self.host.split('-').next() {
            Some("x86_64") => Ok(Arch::Amd64),
            Some("aarch64") => Ok(Arch::ARM64),
            _ => Err(Failed::Architecture(self.host.clone())),
        }
    }

    /// The crates that a program is linked from, itself included, with the features that it uses.
    ///
    /// # Errors
    /// Returns an error if cargo fails.
    pub fn dependencies(&self, package: &str) -> Result<Crates, Failed> {
        let mut tree = cargo();
        tree.args(["tree", "--locked", "--package", package, "--target", &self.host]).current_dir(&self.root);
        tree.args(["--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", "\t{p}\t{l}\t{r}\t"]);
        let text = output(&mut tree)?;
        let path = self.root.join("Cargo.lock");
        let lock = std::fs::read_to_string(&path).map_err(|error| unexpected("Cargo.lock", error))?;
        let checksums = checksums(&lock).map_err(|error| unexpected("Cargo.lock", error))?;
        crates(&text, &checksums).ok_or_else(|| unexpected("cargo tree", text.lines().next().unwrap_or_default()))
    }

    /// What a static program contains beside its crates.
    ///
    /// # Errors
    /// Returns an error if the system does not tell its C library.
    pub fn toolchain(&self) -> Result<Toolchain, Failed> {
        let libc = if self.host.ends_with("-gnu") {
            let text = output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
            let (name, version) = text.trim().split_once(' ').ok_or_else(|| unexpected("getconf", &text))?;
            Some((name.to_owned(), version.to_owned()))
        } else {
            None
        };
        Ok(Toolchain { rust: self.rustc.clone(), libc })
    }
}

/// The cargo that runs this program, if one does.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// What a command prints. Its messages are passed on.
///
/// # Errors
/// Returns an error if it cannot be started, or fails.
pub fn output(command: &mut Command) -> Result<String, Failed> {
    let name = || command.get_program().to_string_lossy().into_owned();
    let name = name();
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| Failed::Start(name.clone(), error))?;
    if !output.status.success() {
        return Err(Failed::Status(name, output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| unexpected(&name, error))
}

fn unexpected(what: &str, why: impl ToString) -> Failed {
    Failed::Answer(what.to_owned(), why.to_string())
}

/// The checksums of the packages in a lock file.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>, toml::de::Error> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
        checksum: Option<String>,
    }
    let packages = toml::from_str::<Lock>(lock)?.package.into_iter();
    Ok(packages.filter_map(|it| Some(((it.name, it.version), it.checksum?))).collect())
}

/// Reads what `cargo tree` printed: a line for each use, with its depth. What a crate uses is below its first line only.
fn crates(tree: &str, checksums: &BTreeMap<(String, String), String>) -> Option<Crates> {
    let mut crates = Crates::new();
    let mut above: Vec<(String, String)> = Vec::new();
    for line in tree.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [depth, id, license, repository, ..] = fields[..] else { return None };
        let depth: usize = depth.parse().ok()?;
        let (name, rest) = id.split_once(" v")?;
        let key = (name.to_owned(), rest.split(' ').next()?.to_owned());
        above.truncate(depth);
        if let Some(user) = above.last() {
            crates.get_mut(user)?.uses.insert(key.clone());
        }
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        crates.entry(key.clone()).or_insert_with(|| Crate {
            license: known(license).map(|it| it.replace(" / ", "/").replace('/', " OR ")),
            repository: known(repository),
            checksum: checksums.get(&key).cloned(),
            uses: BTreeSet::new(),
        });
        above.push(key);
    }
    Some(crates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, version: &str) -> (String, String) {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn crates_are_read_with_their_licences_checksums_and_uses() {
        let lock = "\
version = 4
[[package]]
name = \"program\"
version = \"0.1.0\"
dependencies = [\"a\", \"b 1.0.0\"]
[[package]]
name = \"a\"
version = \"2.0.0+1\"
source = \"registry+https://github.com/rust-lang/crates.io-index\"
checksum = \"aa\"
";
        let tree = "\
0\tprogram v0.1.0 (/some where/program)\tApache-2.0\t\t
1\ta v2.0.0+1\tMIT/Apache-2.0\thttps://example.org/a\t
2\tb v1.0.0\tMIT OR Apache-2.0\t\t
1\tb v1.0.0\tMIT OR Apache-2.0\t\t (*)
1\tb v2.0.0\t\t\t
";
        let checksums = checksums(lock).unwrap();
        let expected = [
            (
                key("program", "0.1.0"),
                Crate {
                    license: Some("Apache-2.0".into()),
                    uses: [key("a", "2.0.0+1"), key("b", "1.0.0"), key("b", "2.0.0")].into(),
                    ..Crate::default()
                },
            ),
            (
                key("a", "2.0.0+1"),
                Crate {
                    license: Some("MIT OR Apache-2.0".into()),
                    repository: Some("https://example.org/a".into()),
                    checksum: Some("aa".into()),
                    uses: [key("b", "1.0.0")].into(),
                },
            ),
            (key("b", "1.0.0"), Crate { license: Some("MIT OR Apache-2.0".into()), ..Crate::default() }),
            (key("b", "2.0.0"), Crate::default()),
        ];
        assert_eq!(crates(tree, &checksums), Some(expected.into()));
        assert_eq!(crates("error: something else", &checksums), None);
    }

    #[test]
    fn the_crates_of_a_real_program_are_those_that_run_and_each_has_its_licence_and_checksum() {
        let workspace = Workspace::read().unwrap();
        let crates = workspace.dependencies("portcullis-server").unwrap();
        let has = |name: &str| crates.keys().any(|(found, _)| found == name);
        // A macro, one that only runs at build time, one that only tests use.
        let absent = ["serde_derive", "cc", "proptest"].into_iter().filter(|name| has(name));
        assert_eq!(absent.collect::<Vec<_>>(), [] as [&str; 0]);
        assert!(has("rustls") && has("aws-lc-sys") && has("portcullis-crds"));
        let is_own = |name: &str| name.starts_with("portcullis-");
        let lacking =
            crates.iter().filter(|((name, _), it)| it.license.is_none() || it.checksum.is_none() != is_own(name));
        assert_eq!(lacking.collect::<Vec<_>>(), []);
    }
}
