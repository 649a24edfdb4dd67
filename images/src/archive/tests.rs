use std::io::Read;

use flate2::read::GzDecoder;
use jiff::Timestamp;
use oci_spec::image::Arch;
use serde_json::{Value, json};

use super::*;
use crate::{image::PROGRAMS, workspace::Package};

fn package() -> Package {
    Package {
        name: "portcullis-server".into(),
        version: "0.1.0".into(),
        description: "Serves MCP".into(),
        license: "Apache-2.0".into(),
    }
}

fn build(binary: &[u8], repository: &str, seconds: i64) -> Archive {
    let package = package();
    let image = Image {
        program: &PROGRAMS[0],
        package: &package,
        created: Timestamp::from_second(seconds).unwrap(),
        architecture: Arch::Amd64,
        binary: binary.to_vec(),
    };
    let name = PROGRAMS[0].name;
    let reference = Reference { repository: repository.parse().unwrap(), name, tag: "0.1.0".parse().unwrap() };
    archive(&image, &reference).unwrap()
}

/// What a tar archive has of each entry: its path, kind, mode, owner, group, time and content.
fn entries(tar: &[u8]) -> Vec<(String, EntryType, [u64; 4], Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
        let numbers =
            [header.mode().unwrap().into(), header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()];
        (entry.path().unwrap().display().to_string(), header.entry_type(), numbers, content)
    });
    entries.collect()
}

#[test]
fn an_archive_is_an_image_layout_with_one_binary_that_docker_can_load_too() {
    let built = build(b"a binary", "localhost", 60);
    let entries_of_archive = entries(&built.bytes);
    let kinds: Vec<_> = entries_of_archive.iter().map(|(path, kind, numbers, _)| (&**path, *kind, *numbers)).collect();
    let find = |path: &str| &entries_of_archive.iter().find(|(found, ..)| found == path).unwrap().3;
    let json_at = |path: &str| serde_json::from_slice::<Value>(find(path)).unwrap();
    let blob = |digest: &Value| format!("blobs/sha256/{}", digest.as_str().unwrap().strip_prefix("sha256:").unwrap());

    let index = json_at("index.json");
    let manifest_path = blob(&index["manifests"][0]["digest"]);
    let manifest = json_at(&manifest_path);
    let (config_path, layer_path) = (blob(&manifest["config"]["digest"]), blob(&manifest["layers"][0]["digest"]));
    let mut layer = Vec::new();
    GzDecoder::new(&**find(&layer_path)).read_to_end(&mut layer).unwrap();

    let mut blobs = [&*manifest_path, &config_path, &layer_path];
    blobs.sort_unstable();
    for path in blobs {
        assert_eq!(path, format!("blobs/sha256/{}", hex::encode(Sha256::digest(find(path)))));
    }
    let (folder, file) = ([0o755, 0, 0, 0], [0o644, 0, 0, 0]);
    let expected = [
        ("blobs/", EntryType::Directory, folder),
        ("blobs/sha256/", EntryType::Directory, folder),
        (blobs[0], EntryType::Regular, file),
        (blobs[1], EntryType::Regular, file),
        (blobs[2], EntryType::Regular, file),
        ("index.json", EntryType::Regular, file),
        ("manifest.json", EntryType::Regular, file),
        ("oci-layout", EntryType::Regular, file),
    ];
    assert_eq!(kinds, expected);
    let binary = ("portcullis-server".to_owned(), EntryType::Regular, [0o755, 0, 0, 60], b"a binary".to_vec());
    assert_eq!(entries(&layer), [binary]);

    assert_eq!(json_at("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}));
    let name = "localhost/portcullis-server:0.1.0";
    assert_eq!(json_at("manifest.json"), json!([{"Config": config_path, "RepoTags": [name], "Layers": [layer_path]}]));
    assert_eq!(
        index,
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": built.digest,
                "size": find(&manifest_path).len(),
                "platform": {"architecture": "amd64", "os": "linux"},
                "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "0.1.0"},
            }],
        })
    );
    assert_eq!(
        manifest,
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": manifest["config"]["digest"],
                "size": find(&config_path).len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": manifest["layers"][0]["digest"],
                "size": find(&layer_path).len(),
            }],
        })
    );
    assert_eq!(
        json_at(&config_path),
        json!({
            "created": "1970-01-01T00:01:00Z",
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            "config": {
                "User": "65532:65532",
                "ExposedPorts": {"3000/tcp": {}, "9090/tcp": {}},
                "Entrypoint": ["/portcullis-server"],
                "Healthcheck": {
                    "Test": ["CMD", "/portcullis-server", "health"],
                    "Interval": 30_000_000_000_u64,
                    "Timeout": 5_000_000_000_u64,
                    "StartPeriod": 10_000_000_000_u64,
                    "Retries": 3,
                },
                "Labels": {
                    "org.opencontainers.image.title": "portcullis-server",
                    "org.opencontainers.image.description": "Serves MCP",
                    "org.opencontainers.image.version": "0.1.0",
                    "org.opencontainers.image.licenses": "Apache-2.0",
                },
            },
        })
    );
}

#[test]
fn the_same_image_gives_the_same_bytes_and_the_digest_is_of_the_image_and_not_of_its_name() {
    // Often enough that an order that depends on chance would differ.
    let first = build(b"a binary", "localhost", 0);
    for _ in 0..10 {
        assert_eq!(build(b"a binary", "localhost", 0).bytes, first.bytes);
    }
    let renamed = build(b"a binary", "registry.example/portcullis", 0);
    assert_eq!(renamed.digest, first.digest);
    assert_ne!(renamed.bytes, first.bytes);
    assert_ne!(build(b"another binary", "localhost", 0).digest, first.digest);
    assert_ne!(build(b"a binary", "localhost", 1).digest, first.digest);
}
