//! The command line: what is asked for, and how its end is told. Results go to stdout, findings and errors to stderr.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use portcullis_crds::{manifest, reference};

use crate::{build::Settings, local, rbac, render, run};

/// Turns McpServer and McpClient resources into guarded MCP servers.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Keep the cluster of the kubeconfig, or that of this pod, as its McpServers and McpClients say. One at a time: there is
    /// no leader election yet
    Run(Image),
    /// Print the account of `run` and what it may do, for `kubectl apply --server-side -f -`
    Rbac,
    /// Print the two CustomResourceDefinitions, for `kubectl apply --server-side -f -`
    Crds(Crds),
    /// Check the manifests in a folder; ends with 1 if there is a finding
    Validate(Folder),
    /// Print all objects that the operator makes of the manifests in a folder
    Render(Render),
    /// Serve the manifests in a folder on this machine, without a cluster
    Local(local::Options),
}

#[derive(Args)]
struct Crds {
    /// Write one file for each into this folder instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write the reference page of their fields, conditions and reasons, as Markdown, into this file instead
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
}

#[derive(Args)]
struct Folder {
    /// The folder: its *.yaml, *.yml and *.json are read, not those of folders in it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Args)]
struct Render {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    settings: Image,
}

/// The image that pods run.
#[derive(Args, Clone, Debug)]
pub struct Image {
    /// The image that pods run
    #[arg(long, value_name = "IMAGE", env = "PORTCULLIS_SERVER_IMAGE", default_value = concat!("portcullis-server:", env!("CARGO_PKG_VERSION")))]
    server_image: String,
    /// When kubelet pulls it: Always, IfNotPresent or Never
    #[arg(long, value_name = "POLICY", default_value = "IfNotPresent", value_parser = ["Always", "IfNotPresent", "Never"])]
    image_pull_policy: String,
}

impl From<Image> for Settings {
    fn from(image: Image) -> Self {
        Self { server_image: image.server_image, image_pull_policy: image.image_pull_policy }
    }
}

/// Does what the arguments of this process ask for.
pub fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(text) => print(&text),
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<String, Box<dyn std::error::Error>> {
    Ok(match command {
        Command::Run(settings) => {
            run::run(settings.into())?;
            String::new()
        }
        Command::Rbac => rbac::manifests(),
        Command::Crds(asked) => crds(asked)?,
        Command::Validate(Folder { folder }) => render::validate(&folder)?,
        Command::Render(Render { folder, settings }) => render::render(&folder.folder, &settings.into())?,
        Command::Local(options) => {
            runtime()?.block_on(local::run(options))?;
            String::new()
        }
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn crds(asked: Crds) -> Result<String, String> {
    let mut texts = Vec::new();
    for (name, definition) in manifest::all() {
        texts.push((name, manifest::print(&definition).map_err(|error| error.to_string())?));
    }
    let write =
        |path: PathBuf, text: &str| fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()));
    if asked.dir.is_none() && asked.reference.is_none() {
        return Ok(texts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("---\n"));
    }
    if let Some(dir) = asked.dir {
        texts.iter().try_for_each(|(name, text)| write(dir.join(name), text))?;
    }
    if let Some(file) = asked.reference {
        write(file, &reference::resources())?;
    }
    Ok(String::new())
}

/// A reader that wants no more, such as `head`, is no failure.
fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
