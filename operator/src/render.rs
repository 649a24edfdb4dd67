//! `validate` and `render`: the steps `validate` and `build` of a reconcile, on files.

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::{
    build::{self, DocumentNames, KINDS, SECRET, Settings},
    credentials::{self, SecretData},
    manifests::{self, ClientSecret, Folder, NoCluster, Problem, Review, Severity, SourceError, Sources},
};

const HEADER: &str = "\
# Printed by `portcullis-operator render`: the objects that the operator creates for these manifests, to be read and compared.
# Do not apply it: UIDs are placeholders, and Secrets are empty because the operator creates the keys where it runs.
";

/// Why manifests are refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error("{sources}: contains no McpServer and no McpClient")]
    Empty { sources: Sources },
    #[error("{}", lines(problems))]
    Problems { problems: Vec<Problem> },
    #[error("{0}")]
    Yaml(#[from] serde_yaml::Error),
}

/// What a command prints: the result, and warnings.
#[derive(Debug, PartialEq)]
pub struct Output {
    pub text: String,
    /// A line for each.
    pub warnings: String,
}

/// Checks manifests, and returns how many objects they are. `now` decides what has expired.
///
/// # Errors
/// Returns everything that is wrong with them: if it is `strict`, also warnings.
pub fn validate(sources: &Sources, strict: bool, now: Timestamp) -> Result<Output, Error> {
    let (folder, mut review) = accepted(sources, &NoCluster::default())?;
    let advice = manifests::advice(&folder, &review, now);
    review.problems.extend(advice);
    review.problems.sort();
    if strict && !review.problems.is_empty() {
        return Err(Error::Problems { problems: review.problems });
    }
    let (servers, clients) = (folder.servers().count(), folder.clients().count());
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let text = format!("OK: {servers} McpServer{}, {clients} McpClient{}\n", plural(servers), plural(clients));
    Ok(Output { text, warnings: printed(&review.problems) })
}

/// All objects that the operator would create, as YAML: the same bytes for the same manifests.
///
/// # Errors
/// Returns everything that is wrong with them.
pub fn render(sources: &Sources, settings: &Settings) -> Result<Output, Error> {
    let (_, review) = accepted(sources, &NoCluster { cluster_domain: &settings.cluster_domain })?;
    let mut text = HEADER.to_owned();
    for (server, plan) in review.servers.values() {
        for object in build::objects(KINDS, server, plan, None, &DocumentNames::default(), settings) {
            document(&mut text, &without_data(object.value))?;
        }
    }
    for ClientSecret { kind, client, name, .. } in review.secrets.values().flatten() {
        let secret = credentials::secret(kind, client, name, SecretData::new(), None);
        document(&mut text, &Secret { data: None, ..secret })?;
    }
    Ok(Output { text, warnings: printed(&review.problems) })
}

/// The manifests and their review, if nothing in them is worse than a warning.
fn accepted(sources: &Sources, cluster: &NoCluster<'_>) -> Result<(Folder, Review), Error> {
    let (folder, mut problems) = Folder::default().update(&sources.read()?);
    let mut review = manifests::review(&folder, cluster, |_| {});
    problems.append(&mut review.problems);
    problems.sort();
    if problems.iter().any(|problem| problem.severity != Severity::Warning) {
        return Err(Error::Problems { problems });
    }
    if folder.ids().next().is_none() {
        return Err(Error::Empty { sources: sources.clone() });
    }
    review.problems = problems;
    Ok((folder, review))
}

fn printed(problems: &[Problem]) -> String {
    if problems.is_empty() { String::new() } else { format!("{}\n", lines(problems)) }
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
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    fn example() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/crm")
    }

    fn check(paths: &[&Path], strict: bool) -> Result<Output, Error> {
        let sources = Sources::new(paths.iter().map(|path| path.to_path_buf()).collect());
        validate(&sources, strict, "2026-06-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn the_example_has_no_finding_and_renders_to_the_same_bytes_without_a_secret() {
        let expected = Output { text: "OK: 1 McpServer, 3 McpClients\n".into(), warnings: String::new() };
        assert_eq!(check(&[&example()], true).unwrap(), expected);
        let cluster_domain = "k8s.example".into();
        let settings = Settings { cluster_domain, ..Settings::of_tests() };
        let sources = Sources::new(vec![example()]);
        let text = render(&sources, &settings).unwrap().text;
        assert_eq!(render(&sources, &settings).unwrap().text, text);
        let kinds: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
        let server = ["ServiceAccount", "ConfigMap", "Secret", "Service", "Deployment"];
        assert_eq!(kinds, [&server[..], &["Secret"; 3]].concat());
        assert!(text.contains("- crm.sales.svc.k8s.example\n") && !text.contains("cluster.local"), "{text}");
        assert!(!text.contains("credentials.yaml:") && !text.contains("api-key:"), "{text}");
    }

    #[test]
    fn a_folder_with_findings_is_refused_with_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["server.yaml", "clients.yaml"] {
            let text = fs::read_to_string(example().join(file)).unwrap();
            let broken = text.replace("{method: GET, path: /deals/summary", "{method: GETS, path: /deals/summary");
            fs::write(folder.path().join(file), broken.replace("get_revenue_report]", "get_revenue]")).unwrap();
        }
        let error = check(&[folder.path()], false).unwrap_err().to_string();
        let finding = "server.yaml: McpServer sales/crm: spec.tools[3].http.method: is not one of GET, HEAD, POST, PUT, PATCH, DELETE \
                       (did you mean `GET`?)";
        assert!(error.contains(finding), "{error}");
    }

    #[test]
    fn files_and_folders_are_one_set_of_manifests_and_each_is_read_once() {
        let (server, clients) = (example().join("server.yaml"), example().join("clients.yaml"));
        let copy = tempfile::tempdir().unwrap();
        fs::copy(&server, copy.path().join("server.txt")).unwrap();
        for paths in [
            vec![&*server, &clients],
            vec![&*server, &example()],
            vec![&clients, &*copy.path().join("server.txt"), &clients],
        ] {
            assert_eq!(check(&paths, true).unwrap().text, "OK: 1 McpServer, 3 McpClients\n", "{paths:?}");
        }
        fs::rename(copy.path().join("server.txt"), copy.path().join("server.yaml")).unwrap();
        let error = check(&[&example(), copy.path()], false).unwrap_err().to_string();
        let (first, second) = (server.display(), copy.path().join("server.yaml").display().to_string());
        let twice = |a: &dyn std::fmt::Display, b: &dyn std::fmt::Display| {
            format!(
                "{b}: McpServer sales/crm: metadata.name: appears twice: {a} contains an object of this name too, which is used"
            )
        };
        assert!([twice(&first, &second), twice(&second, &first)].contains(&error), "{error}");
    }

    #[test]
    fn what_contains_nothing_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let message =
            |paths: &[&Path]| check(paths, false).unwrap_err().to_string().replace(path.to_str().unwrap(), "DIR");
        assert_eq!(
            message(&[&example(), path]),
            "DIR: the folder contains no file *.yaml, *.yml or *.json; folders in it are not read"
        );
        fs::write(path.join("other.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}").unwrap();
        assert_eq!(message(&[path]), "DIR: contains no McpServer and no McpClient");
        let file = path.join("other.yaml");
        assert_eq!(message(&[&file, path]), "DIR/other.yaml, DIR: contains no McpServer and no McpClient");
        let missing = path.join("missing");
        assert_eq!(message(&[&example(), &missing]), "DIR/missing: there is no such file or folder");
    }

    #[test]
    fn a_warning_is_a_finding_only_if_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clients.yaml");
        fs::copy(example().join("clients.yaml"), &file).unwrap();
        let Output { text, warnings } = check(&[folder.path()], false).unwrap();
        assert_eq!((text.as_str(), warnings.lines().count()), ("OK: 0 McpServers, 3 McpClients\n", 3));
        let first = "warning: clients.yaml: McpClient sales/customer-service-agent: spec.access[0].serverRef: McpServer sales/crm is not \
                     among these manifests";
        assert_eq!(warnings.lines().next(), Some(first));
        assert_eq!(check(&[folder.path()], true).unwrap_err().to_string(), warnings.trim_end());
    }
}
