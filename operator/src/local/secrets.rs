//! `--secret NAME=FOLDER`: the Secrets of a cluster, as folders of this machine whose files are the keys.
//!
//! No value is read or copied here: the folder that a server is given has links to them, so that the server takes up what changes.
//! Nor is one on a command line, where every process of the machine could see it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use portcullis_crds::{Finding, McpServerSpec, NamespacedName};

use super::{error::Error, state};
use crate::manifests::{Folder, ObjectId, Problem, Severity};

/// The folder of each Secret, whatever the namespace of a server is.
pub(super) struct LocalSecrets(BTreeMap<String, PathBuf>);

impl LocalSecrets {
    pub fn new(folders: Vec<(String, PathBuf)>) -> Self {
        Self(folders.into_iter().collect())
    }

    /// Makes a folder what a server's pod would mount.
    ///
    /// # Errors
    /// Returns an error if the state folder cannot be written.
    pub fn mount(&self, volume: &Path) -> Result<(), Error> {
        state::make_folder(volume)?;
        let failed = || Error::io(volume.display().to_string());
        for entry in fs::read_dir(volume).map_err(failed())? {
            // A link of an earlier run; what is behind it stays.
            fs::remove_file(entry.map_err(failed())?.path()).map_err(failed())?;
        }
        for (name, folder) in &self.0 {
            symlink(folder, volume.join(name)).map_err(failed())?;
        }
        Ok(())
    }

    /// The values that servers need and do not have, each with how to give it.
    pub fn problems(&self, folder: &Folder) -> BTreeSet<Problem> {
        let of_server = |(name, server): (&NamespacedName, &portcullis_crds::McpServer)| {
            let id = ObjectId::server(name);
            let problem = |finding| Problem::object(folder.file(&id), &id, finding, Severity::Warning);
            self.missing(&server.spec).into_iter().map(problem).collect::<Vec<_>>()
        };
        folder.servers().flat_map(of_server).collect()
    }

    fn missing(&self, spec: &McpServerSpec) -> Vec<Finding> {
        let missing = spec.secrets().into_iter().filter_map(|secret| {
            let (name, key) = (secret.name.as_str(), secret.key.as_str());
            let hint = match self.0.get(name) {
                Some(folder) if folder.join(key).is_file() => return None,
                Some(folder) => format!("put it into the file {}", folder.join(key).display()),
                None => format!("give it with --secret {name}=FOLDER, where FOLDER has a file `{key}`"),
            };
            let message = format!("{secret} has no value here, and calls that need it fail; {hint}");
            Some(Finding::new("spec.backends", message))
        });
        missing.collect()
    }
}

/// A name and a folder. The folder is found from wherever the server runs.
pub(super) fn argument(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("must be NAME=FOLDER, such as crm-token=./secrets/crm-token")?;
    let name: portcullis_crds::name::ObjectName =
        name.parse().map_err(|error| format!("the name of the Secret {error}"))?;
    match fs::canonicalize(folder) {
        Ok(path) if path.is_dir() => Ok((name.into(), path)),
        Ok(_) => Err(format!("{folder} is no folder; its files are to be the keys of the Secret")),
        Err(error) => Err(format!("{folder}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> McpServerSpec {
        serde_json::from_value(json!({
            "backends": [{"name": "api", "http": {"url": "http://a"},
                "credentials": {"bearerSecretRef": {"name": "crm-token", "key": "token"}}}],
            "tools": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_server_reads_the_files_of_the_folders_and_what_is_missing_is_said_with_how_to_give_it() {
        let root = tempfile::tempdir().unwrap();
        let given = root.path().join("given");
        fs::create_dir(&given).unwrap();
        let messages = |secrets: &LocalSecrets| -> Vec<String> {
            secrets.missing(&spec()).into_iter().map(|finding| finding.message).collect()
        };
        let none = LocalSecrets::new(Vec::new());
        let begin = "key `token` of Secret `crm-token` has no value here, and calls that need it fail; ";
        let hint = "give it with --secret crm-token=FOLDER, where FOLDER has a file `token`";
        assert_eq!(messages(&none), [format!("{begin}{hint}")]);
        let secrets = LocalSecrets::new(vec![argument(&format!("crm-token={}", given.display())).unwrap()]);
        let file = fs::canonicalize(&given).unwrap().join("token");
        assert_eq!(messages(&secrets), [format!("{begin}put it into the file {}", file.display())]);

        fs::write(&file, "t").unwrap();
        assert_eq!(messages(&secrets), [] as [String; 0]);
        let volume = root.path().join("volume");
        // A restart replaces the links, and touches nothing behind them.
        for _ in 0..2 {
            secrets.mount(&volume).unwrap();
            assert_eq!(fs::read_to_string(volume.join("crm-token/token")).unwrap(), "t");
        }
        none.mount(&volume).unwrap();
        assert_eq!((fs::read_dir(&volume).unwrap().count(), file.is_file()), (0, true));
    }

    #[test]
    fn a_secret_is_a_name_and_a_folder() {
        assert!(argument("crm-token=/").is_ok());
        for (text, error) in [
            ("crm-token", "must be NAME=FOLDER"),
            ("../a=/", "the name of the Secret must be a DNS subdomain"),
            ("a=/dev/null", "/dev/null is no folder"),
            ("a=/nowhere", "/nowhere: "),
        ] {
            assert!(argument(text).unwrap_err().starts_with(error), "{text}");
        }
    }
}
