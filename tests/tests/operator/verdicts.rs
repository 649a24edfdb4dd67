//! What `validate` accepts, kubectl and a real API server accept, and the reverse: manifests in the form in which people write them are
//! given to both. What `validate` refuses alone is listed, with its row in the documentation.

mod texts;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use portcullis_tests::{TestCluster, binary, repository};

/// How many files are given to one kubectl: as many requests as it sends without a pause.
const BATCH: usize = 140;

/// What `validate` alone refuses: a part of its finding, and of docs/operator.md, where it is said.
const STRICTER: [(&str, &str); 12] = [
    ("without quotes is", "words of YAML 1.1 without quotes"),
    ("kubectl puts the fields of this value in its place", "`<<`, which merges a mapping"),
    ("has a tag", "tags other than YAML's own"),
    ("not a number that JSON has", "`.inf`, `.nan`"),
    ("is a number that is too large", "integers above 64 bits"),
    ("has a key that is not a string", "one that is null, a list, a mapping, has a fraction or is above 63 bits"),
    ("duplicate entry with key", "one that appears twice"),
    ("did not find expected <document start>", "several without a line `---` between them"),
    ("half of a surrogate pair", "half of a surrogate pair in JSON"),
    ("must have `type: object`", "a schema of arguments without `type: object`"),
    ("spec.pod.resources", "resources that no container may have"),
    ("each pod enforces an equal share", "a limit below the number of replicas"),
];
/// What kubectl alone refuses: a part of the file, and of docs/operator.md.
const LENIENT: [(&str, &str); 1] = [("---\na: b\n", "A document without `kind` and `apiVersion` is skipped")];

/// A manifest as a file contains it.
pub struct Manifest {
    extension: &'static str,
    /// With `NAME` in place of the object's name, if that is to be the file's own.
    text: String,
}

impl Manifest {
    fn yaml(text: impl Into<String>) -> Self {
        Self { extension: "yaml", text: text.into() }
    }

    fn json(text: impl Into<String>) -> Self {
        Self { extension: "json", text: text.into() }
    }
}

/// Those of the repository: the example, and the blocks of the documentation.
fn collected() -> Vec<Manifest> {
    let read = |path: &str| std::fs::read_to_string(repository(path)).unwrap();
    let files = ["server.yaml", "clients.yaml"].map(|name| read(&format!("examples/crm/{name}")));
    let blocks = ["README.md", "docs/server.md", "docs/operator.md", "docs/architecture.md"].map(read);
    let blocks = blocks.iter().flat_map(|page| page.split("```yaml\n").skip(1));
    let blocks = blocks.filter_map(|block| block.split("```").next()).filter(|block| block.contains("\nkind: Mcp"));
    files.into_iter().chain(blocks.map(str::to_owned)).map(Manifest::yaml).collect()
}

/// Writes a manifest alone into a folder.
fn write(folder: &Path, n: usize, manifest: &Manifest) -> String {
    let path = folder.join(format!("m{n}.{}", manifest.extension));
    std::fs::write(&path, manifest.text.replace("NAME", &format!("m{n}"))).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What kubectl prints, and whether it accepts everything at this path.
fn apply(cluster: &TestCluster, path: &str) -> (bool, String, String) {
    let mut command = cluster.control_plane.kubectl_command();
    command.args(["apply", "--dry-run=server", "--validate=strict", "-o", "name", "-f", path]);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// Why kubectl or the API server refuses each manifest. Those of which kubectl says nothing in a batch are given to it alone.
fn refused_by_kubectl(cluster: &TestCluster, manifests: &[Manifest]) -> Vec<Option<String>> {
    let one = |n: usize| {
        let folder = tempfile::tempdir().unwrap();
        let (is_accepted, _, error) = apply(cluster, &write(folder.path(), n, &manifests[n]));
        (!is_accepted).then_some(error)
    };
    let batch = |first: usize| {
        let numbers = first..manifests.len().min(first + BATCH);
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = numbers.clone().map(|n| write(folder.path(), n, &manifests[n])).collect();
        let (_, names, errors) = apply(cluster, folder.path().to_str().unwrap());
        let accepted: BTreeSet<_> = names.lines().filter_map(|line| line.split_once('/')).map(|it| it.1).collect();
        let verdicts = numbers.zip(paths).map(|(n, path)| match errors.lines().find(|line| line.contains(&path)) {
            Some(error) => Some(error.to_owned()),
            None if accepted.contains(format!("m{n}").as_str()) => None,
            None => one(n),
        });
        verdicts.collect::<Vec<_>>()
    };
    (0..manifests.len()).step_by(BATCH).flat_map(batch).collect()
}

/// What `validate` says of a manifest that it refuses.
fn refused_by_validate(n: usize, manifest: &Manifest) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), n, manifest);
    let output =
        Command::new(binary("portcullis-operator").unwrap()).arg("validate").arg(folder.path()).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8(output.stderr).unwrap())
}

/// The differences of a list that a text shows.
fn known<'a>(list: &'a [(&str, &str)], text: &str) -> Vec<&'a (&'a str, &'a str)> {
    list.iter().filter(|(part, _)| text.contains(part)).collect()
}

#[tokio::test]
async fn what_validate_accepts_a_real_api_server_accepts_and_the_reverse() {
    let manifests: Vec<_> = [collected(), texts::all()].into_iter().flatten().collect();
    let cluster = TestCluster::without_operator().await;
    cluster.namespace("sales").await;
    let (mut wrong, mut differences, mut agreed) = (Vec::new(), BTreeSet::<&(&str, &str)>::new(), [0; 2]);
    for (n, refusal) in refused_by_kubectl(&cluster, &manifests).into_iter().enumerate() {
        let text = &manifests[n].text;
        let (found, who, why) = match (refusal, refused_by_validate(n, &manifests[n])) {
            (None, None) => {
                agreed[0] += 1;
                continue;
            }
            (Some(_), Some(_)) => {
                agreed[1] += 1;
                continue;
            }
            (Some(error), None) => (known(&LENIENT, text), "kubectl", error),
            (None, Some(findings)) => (known(&STRICTER, &findings), "validate", findings),
        };
        if found.is_empty() {
            wrong.push(format!("only {who} refuses {text:?}: {why}"));
        }
        differences.extend(found);
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), manifests.len(), wrong.join("\n"));
    let documentation = std::fs::read_to_string(repository("docs/operator.md")).unwrap().replace('\n', " ");
    for difference in STRICTER.iter().chain(&LENIENT) {
        assert!(differences.contains(difference), "no manifest shows {difference:?}");
        assert!(documentation.contains(difference.1), "docs/operator.md does not say {:?}", difference.1);
    }
    assert!(agreed.iter().all(|count| *count > 100), "{agreed:?} of {}", manifests.len());
}
