//! `crds`: prints the CustomResourceDefinitions, applies them to a cluster, and writes the files that are generated from the types.

mod apply;

use std::{fs, path::PathBuf};

use portcullis_crds::{manifest, reference};

pub use apply::apply;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub files: Files,
}

#[derive(clap::Subcommand)]
pub enum Command {
    /// Create or upgrade the definitions in the cluster of the kubeconfig, or of this pod, and wait until they are served
    Apply,
}

#[derive(clap::Args)]
pub struct Files {
    /// Write one file for each definition into this folder instead of printing them
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write the reference page of their fields, conditions and reasons, as Markdown, into this file
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Write the reference page of policy.yaml and credentials.yaml, as Markdown, into this file
    #[arg(long, value_name = "FILE")]
    contract: Option<PathBuf>,
}

/// The definitions, if no file is requested.
///
/// # Errors
/// Returns an error if a file cannot be written.
pub fn crds(files: Files) -> Result<String, String> {
    let mut definitions = Vec::new();
    for (name, definition) in manifest::all() {
        definitions.push((name, manifest::print(&definition).map_err(|error| error.to_string())?));
    }
    let Files { dir, reference, contract } = files;
    if dir.is_none() && reference.is_none() && contract.is_none() {
        return Ok(definitions.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("---\n"));
    }
    if let Some(dir) = dir {
        definitions.iter().try_for_each(|(name, text)| write(dir.join(name), text))?;
    }
    if let Some(file) = reference {
        write(file, &reference::resources())?;
    }
    if let Some(file) = contract {
        write(file, &reference::contract())?;
    }
    Ok(String::new())
}

fn write(path: PathBuf, text: &str) -> Result<(), String> {
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}
