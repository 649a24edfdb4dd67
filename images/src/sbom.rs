//! The bill of materials of a program, in CycloneDX 1.6 (<https://cyclonedx.org/docs/1.6/json/>): the crates that are linked into it,
//! and the libraries of the toolchain. It has no time and no random number: the same program has the same bill.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::workspace::{Crate, Crates, Package, Toolchain};

/// Why there is no bill of materials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cargo compiled {compiled:?} beyond what it says {program} depends on, and did not compile {missing:?}")]
    Differs { program: String, compiled: Vec<(String, String)>, missing: Vec<(String, String)> },
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The bill of a program that was linked from these crates.
///
/// # Errors
/// Returns an error if the crates that were compiled are others.
pub fn sbom(
    package: &Package,
    binary: &[u8],
    crates: &Crates,
    compiled: &BTreeSet<(String, String)>,
    toolchain: &Toolchain,
) -> Result<String, Error> {
    let expected: BTreeSet<(String, String)> = crates.keys().cloned().collect();
    if expected != *compiled {
        return Err(Error::Differs {
            program: package.name.clone(),
            compiled: compiled.difference(&expected).cloned().collect(),
            missing: expected.difference(compiled).cloned().collect(),
        });
    }
    let program = (package.name.clone(), package.version.clone());
    let is_program = |key: &(String, String)| *key == program;
    let reference = |key| crates.get(key).map(|it| purl(key, it));
    let libraries = libraries(toolchain);
    let linked = libraries.iter().map(|library| library["purl"].clone());

    let mut components: Vec<Value> =
        crates.iter().filter(|(key, _)| !is_program(key)).map(|(key, it)| component("library", key, it)).collect();
    let dependencies = crates.iter().map(|(key, it)| {
        let uses = it.uses.iter().filter_map(reference).map(Value::from);
        let uses: Vec<Value> = if is_program(key) { uses.chain(linked.clone()).collect() } else { uses.collect() };
        json!({"ref": purl(key, it), "dependsOn": uses})
    });
    let dependencies: Vec<Value> =
        dependencies.chain(linked.clone().map(|library| json!({"ref": library, "dependsOn": []}))).collect();
    components.extend(libraries.iter().cloned());

    let mut root = component("application", &program, crates.get(&program).unwrap_or(&Crate::default()));
    root["description"] = json!(package.description);
    root["hashes"] = json!([{"alg": "SHA-256", "content": hex::encode(Sha256::digest(binary))}]);
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": dependencies,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn component(kind: &str, key: &(String, String), it: &Crate) -> Value {
    let purl = purl(key, it);
    let mut component = json!({"type": kind, "bom-ref": purl, "name": key.0, "version": key.1, "purl": purl});
    if let Some(license) = &it.license {
        component["licenses"] = json!([{"expression": license}]);
    }
    if let Some(checksum) = &it.checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(repository) = &it.repository {
        component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    component
}

/// What a static program contains of the toolchain.
fn libraries(toolchain: &Toolchain) -> Vec<Value> {
    let rust = ("std".to_owned(), toolchain.rust.clone());
    let rust = (rust, "MIT OR Apache-2.0", "The standard library of Rust");
    let libc = toolchain.libc.clone().map(|libc| (libc, "LGPL-2.1-or-later", "The C library, linked statically"));
    let libraries = [rust].into_iter().chain(libc).map(|(key, license, description)| {
        let it = Crate { license: Some(license.to_owned()), ..Crate::default() };
        let mut component = component("library", &key, &it);
        component["description"] = json!(description);
        component
    });
    libraries.collect()
}

/// The package URL. Cargo's type stands for the public registry, in which the crates of the workspace are not.
fn purl((name, version): &(String, String), it: &Crate) -> String {
    let kind = if it.checksum.is_some() { "cargo" } else { "generic" };
    format!("pkg:{kind}/{name}@{}", version.replace('+', "%2B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, version: &str) -> (String, String) {
        (name.to_owned(), version.to_owned())
    }

    fn crates() -> Crates {
        let program = Crate {
            license: Some("Apache-2.0".into()),
            uses: [key("a", "2.0.0+1"), key("own", "0.1.0")].into(),
            ..Crate::default()
        };
        let own = Crate { license: Some("Apache-2.0".into()), uses: [key("a", "2.0.0+1")].into(), ..Crate::default() };
        let a = Crate {
            license: Some("MIT OR Apache-2.0".into()),
            repository: Some("https://example.org/a".into()),
            checksum: Some("aa".into()),
            uses: BTreeSet::new(),
        };
        [(key("program", "0.1.0"), program), (key("own", "0.1.0"), own), (key("a", "2.0.0+1"), a)].into()
    }

    fn bill(compiled: &BTreeSet<(String, String)>) -> Result<String, Error> {
        let package = Package {
            name: "program".into(),
            version: "0.1.0".into(),
            description: "Does it".into(),
            license: "Apache-2.0".into(),
        };
        let toolchain = Toolchain { rust: "1.95.0".into(), libc: Some(key("glibc", "2.36")) };
        sbom(&package, b"binary", &crates(), compiled, &toolchain)
    }

    #[test]
    fn the_bill_lists_each_crate_and_library_with_its_licence_and_what_uses_it() {
        let text = bill(&crates().keys().cloned().collect()).unwrap();
        assert_eq!(text, bill(&crates().keys().cloned().collect()).unwrap());
        let expected = json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"component": {
                "type": "application",
                "bom-ref": "pkg:generic/program@0.1.0",
                "name": "program",
                "version": "0.1.0",
                "description": "Does it",
                "purl": "pkg:generic/program@0.1.0",
                "licenses": [{"expression": "Apache-2.0"}],
                "hashes": [{"alg": "SHA-256", "content": "9a3a45d01531a20e89ac6ae10b0b0beb0492acd7216a368aa062d1a5fecaf9cd"}],
            }},
            "components": [
                {
                    "type": "library",
                    "bom-ref": "pkg:cargo/a@2.0.0%2B1",
                    "name": "a",
                    "version": "2.0.0+1",
                    "purl": "pkg:cargo/a@2.0.0%2B1",
                    "licenses": [{"expression": "MIT OR Apache-2.0"}],
                    "hashes": [{"alg": "SHA-256", "content": "aa"}],
                    "externalReferences": [{"type": "vcs", "url": "https://example.org/a"}],
                },
                {
                    "type": "library",
                    "bom-ref": "pkg:generic/own@0.1.0",
                    "name": "own",
                    "version": "0.1.0",
                    "purl": "pkg:generic/own@0.1.0",
                    "licenses": [{"expression": "Apache-2.0"}],
                },
                {
                    "type": "library",
                    "bom-ref": "pkg:generic/std@1.95.0",
                    "name": "std",
                    "version": "1.95.0",
                    "description": "The standard library of Rust",
                    "purl": "pkg:generic/std@1.95.0",
                    "licenses": [{"expression": "MIT OR Apache-2.0"}],
                },
                {
                    "type": "library",
                    "bom-ref": "pkg:generic/glibc@2.36",
                    "name": "glibc",
                    "version": "2.36",
                    "description": "The C library, linked statically",
                    "purl": "pkg:generic/glibc@2.36",
                    "licenses": [{"expression": "LGPL-2.1-or-later"}],
                },
            ],
            "dependencies": [
                {"ref": "pkg:cargo/a@2.0.0%2B1", "dependsOn": []},
                {"ref": "pkg:generic/own@0.1.0", "dependsOn": ["pkg:cargo/a@2.0.0%2B1"]},
                {"ref": "pkg:generic/program@0.1.0", "dependsOn": [
                    "pkg:cargo/a@2.0.0%2B1", "pkg:generic/own@0.1.0", "pkg:generic/std@1.95.0", "pkg:generic/glibc@2.36",
                ]},
                {"ref": "pkg:generic/std@1.95.0", "dependsOn": []},
                {"ref": "pkg:generic/glibc@2.36", "dependsOn": []},
            ],
        });
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn a_bill_of_other_crates_than_were_compiled_is_refused() {
        let mut compiled: BTreeSet<_> = crates().keys().cloned().collect();
        compiled.remove(&key("own", "0.1.0"));
        compiled.insert(key("b", "1.0.0"));
        assert_eq!(
            bill(&compiled).unwrap_err().to_string(),
            "cargo compiled [(\"b\", \"1.0.0\")] beyond what it says program depends on, and did not compile [(\"own\", \"0.1.0\")]"
        );
    }
}
