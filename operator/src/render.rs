//! `validate DIR` and `render DIR`: the steps `validate` and `build` of a reconcile, on files.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Secret;
use serde::Serialize;
use serde_json::Value;

use crate::{
    build::{self, KINDS, SECRET, Settings},
    credentials::{self, SecretData},
    manifests::{self, ClientSecret, Folder, NoCluster, Problem, Review, Severity},
};

const HEADER: &str = "\
# Printed by `portcullis-operator render`: the objects that the operator creates for these manifests, to be read and compared.
# Do not apply it: UIDs are placeholders, and Secrets are empty because the operator creates the keys where it runs.
";

/// Why a folder is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("{} contains no McpServer and no McpClient", folder.display())]
    Empty { folder: PathBuf },
    #[error("{}", lines(problems))]
    Problems { problems: Vec<Problem> },
    #[error("{0}")]
    Yaml(#[from] serde_yaml::Error),
}

/// Checks a folder, and returns its warnings and how many objects it contains.
///
/// # Errors
/// Returns everything that is wrong with it.
pub fn validate(folder: &Path) -> Result<String, Error> {
    let (folder, review) = accepted(folder)?;
    let mut text = String::new();
    if !review.problems.is_empty() {
        writeln!(text, "{}", lines(&review.problems)).expect("a string must take text");
    }
    let (servers, clients) = (folder.servers().count(), folder.clients().count());
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    writeln!(text, "OK: {servers} McpServer{}, {clients} McpClient{}", plural(servers), plural(clients))
        .expect("a string must take text");
    Ok(text)
}

/// All objects that the operator would create, as YAML: the same bytes for the same folder.
///
/// # Errors
/// Returns everything that is wrong with the folder.
pub fn render(folder: &Path, settings: &Settings) -> Result<String, Error> {
    let (_, review) = accepted(folder)?;
    let mut text = HEADER.to_owned();
    for (server, plan) in review.servers.values() {
        for object in build::objects(KINDS, server, plan, None, settings) {
            document(&mut text, &without_data(object.value))?;
        }
    }
    for ClientSecret { kind, client, name, .. } in review.secrets.values().flatten() {
        let secret = credentials::secret(kind, client, name, SecretData::new(), None);
        document(&mut text, &Secret { data: None, ..secret })?;
    }
    Ok(text)
}

/// The folder and its review, if nothing in it is worse than a warning.
fn accepted(path: &Path) -> Result<(Folder, Review), Error> {
    let files = manifests::read(path).map_err(|source| Error::Folder { folder: path.to_owned(), source })?;
    let (folder, mut problems) = Folder::default().update(&files);
    let mut review = manifests::review(&folder, &NoCluster, |_| {});
    problems.append(&mut review.problems);
    problems.sort();
    if problems.iter().any(|problem| problem.severity != Severity::Warning) {
        return Err(Error::Problems { problems });
    }
    if folder.ids().next().is_none() {
        return Err(Error::Empty { folder: path.to_owned() });
    }
    review.problems = problems;
    Ok((folder, review))
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn document(text: &mut String, object: &impl Serialize) -> Result<(), serde_yaml::Error> {
    text.push_str("---\n");
    text.push_str(&serde_yaml::to_string(object)?);
    Ok(())
}

/// A Secret without its data; any other object as it is.
fn without_data(mut object: Value) -> Value {
    if object["kind"] == SECRET.object.kind
        && let Some(fields) = object.as_object_mut()
    {
        fields.remove("data");
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/crm")
    }

    #[test]
    fn the_example_has_no_finding_and_renders_to_the_same_bytes_without_a_secret() {
        assert_eq!(validate(&example()).unwrap(), "OK: 1 McpServer, 3 McpClients\n");
        let settings = Settings { server_image: "image".into(), image_pull_policy: "Never".into() };
        let text = render(&example(), &settings).unwrap();
        assert_eq!(render(&example(), &settings).unwrap(), text);
        let kinds: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
        let server = ["ServiceAccount", "ConfigMap", "Secret", "Service", "Deployment"];
        assert_eq!(kinds, [&server[..], &["Secret"; 3]].concat());
        assert!(!text.contains("credentials.yaml:") && !text.contains("api-key:"), "{text}");
    }

    #[test]
    fn a_folder_with_findings_is_refused_with_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(validate(folder.path()), Err(Error::Empty { .. })));
        for file in ["server.yaml", "clients.yaml"] {
            let text = std::fs::read_to_string(example().join(file)).unwrap();
            let broken = text.replace("{method: GET, path: /deals/summary", "{method: GETS, path: /deals/summary");
            std::fs::write(folder.path().join(file), broken.replace("get_revenue_report]", "get_revenue]")).unwrap();
        }
        let error = validate(folder.path()).unwrap_err().to_string();
        assert!(error.contains("server.yaml: McpServer sales/crm: spec.tools[3].http.method: "), "{error}");
        assert!(matches!(validate(Path::new("/nowhere")), Err(Error::Folder { .. })));
    }
}
