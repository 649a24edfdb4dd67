//! `server/Dockerfile` and `operator/Dockerfile` describe the images that `make images` writes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::{fs, path::Path};

use portcullis_images::{
    image::{PROGRAMS, config},
    workspace::Workspace,
};
use serde_json::{Map, Value, json};

/// The instructions of a file, with their arguments; continued lines are one.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let lines = lines.join("\n").replace("\\\n", " ");
    let split = |line: &str| line.trim().split_once(' ').map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()));
    lines.lines().filter_map(split).collect()
}

/// The instructions of each stage, without its FROM, by what it is from.
fn stages(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut stages: Vec<(String, Vec<_>)> = Vec::new();
    for (name, rest) in instructions(text) {
        match (&*name, stages.last_mut()) {
            ("FROM", _) => stages.push((rest, Vec::new())),
            (_, Some((_, instructions))) => instructions.push((name, rest)),
            (_, None) => panic!("{name} is before FROM"),
        }
    }
    stages
}

/// The `config` of the image that these instructions make, and what they copy.
fn made(instructions: &[(String, String)]) -> (Value, Vec<&str>) {
    let mut config = json!({});
    let mut copied = Vec::new();
    for (name, rest) in instructions {
        match &**name {
            "COPY" => copied.push(&**rest),
            "USER" => config["User"] = json!(rest),
            "ENTRYPOINT" => config["Entrypoint"] = serde_json::from_str(rest).unwrap(),
            "EXPOSE" => {
                let ports = rest.split_whitespace().map(|port| (format!("{port}/tcp"), json!({})));
                config["ExposedPorts"] = Value::Object(ports.collect());
            }
            "LABEL" => config["Labels"] = Value::Object(labels(rest)),
            "HEALTHCHECK" => config["Healthcheck"] = health_check(rest),
            name => panic!("{name} has no counterpart in the images of `make images`"),
        }
    }
    (config, copied)
}

/// `name="value"` …
fn labels(text: &str) -> Map<String, Value> {
    let mut parts = text.split('"');
    let mut labels = Map::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        labels.insert(name.trim().strip_suffix('=').unwrap().to_owned(), json!(value));
    }
    labels
}

fn health_check(text: &str) -> Value {
    let (options, command) = text.split_once("CMD ").unwrap();
    let mut test: Vec<Value> = serde_json::from_str(command).unwrap();
    test.insert(0, json!("CMD"));
    let mut check = json!({"Test": test});
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=').unwrap();
        let nanoseconds = || value.strip_suffix('s').unwrap().parse::<u64>().unwrap() * 1_000_000_000;
        match name {
            "--interval" => check["Interval"] = json!(nanoseconds()),
            "--timeout" => check["Timeout"] = json!(nanoseconds()),
            "--start-period" => check["StartPeriod"] = json!(nanoseconds()),
            "--retries" => check["Retries"] = json!(value.parse::<u64>().unwrap()),
            name => panic!("{name} is not known"),
        }
    }
    check
}

#[test]
fn each_dockerfile_makes_the_image_that_is_built_without_an_engine() {
    let workspace = Workspace::read().unwrap();
    let toolchain = fs::read_to_string(workspace.root.join("rust-toolchain.toml")).unwrap();
    for program in &PROGRAMS {
        let name = program.name;
        let file = Path::new(name.strip_prefix("portcullis-").unwrap()).join("Dockerfile");
        let text = fs::read_to_string(workspace.root.join(&file)).unwrap();
        let stages = stages(&text);
        let [(build_from, build), (from, image)] = &stages[..] else { panic!("{name}: {stages:?}") };

        assert_eq!(from, "scratch");
        let expected = config(program, workspace.package(name).unwrap()).unwrap();
        let copied = format!("--from=build --chmod=0755 /{name} /{name}");
        assert_eq!(made(image), (expected, vec![&*copied]), "{}", file.display());

        let (_, version) = build_from.split_once("rust:").unwrap();
        let version = version.split('-').next().unwrap();
        assert!(toolchain.contains(&format!("channel = \"{version}\"")), "{}: {build_from}", file.display());
        let has = |name: &str, part: &str| build.iter().any(|(found, rest)| found == name && rest.contains(part));
        for (name, part) in [
            ("WORKDIR", "/portcullis"),
            (
                "ENV",
                &*format!("RUSTUP_TOOLCHAIN={version} RUSTFLAGS=\"-Ctarget-feature=+crt-static\" SOURCE_DATE_EPOCH=0"),
            ),
            ("RUN", &format!("cargo build --locked --release --package {name} --target \"$host\"")),
        ] {
            assert!(has(name, part), "{}: no {name} with {part}", file.display());
        }
    }
}
