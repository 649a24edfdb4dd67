//! The command line, and the steps from the sources to the files.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use jiff::Timestamp;

use crate::{
    archive::archive,
    compile::{Compiled, compile},
    image::{AGENT, EXAMPLE, Image, PROGRAMS, Program},
    reference::{Reference, Repository, Tag},
    sbom,
    workspace::{Failed, Workspace},
};

/// How large an archive may be, in bytes.
const LARGEST: usize = 25_000_000;

/// Builds the images of the server and of the operator without a container engine, with a bill of materials beside each
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The registry and folder in the names of the images
    #[arg(long, default_value = "localhost")]
    repository: Repository,
    /// The tag in the names of the images; by default their version
    #[arg(long)]
    tag: Option<Tag>,
    /// The folder of the archives; by default `images` in the target directory of cargo
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Build the image of the API of examples/crm too
    #[arg(long)]
    example: bool,
    /// Build the image of the agent of the end-to-end tests too
    #[arg(long)]
    agent: bool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Failed(#[from] Failed),
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("SOURCE_DATE_EPOCH={0}: it should be seconds since 1970")]
    Time(String),
    #[error("{0} has {1} bytes; at most {LARGEST} are allowed")]
    TooLarge(PathBuf, usize),
    #[error("the image cannot be described: {0}")]
    Image(#[from] oci_spec::OciSpecError),
    #[error("the archive cannot be written: {0}")]
    Archive(#[from] crate::archive::Error),
    #[error("the bill of materials cannot be written: {0}")]
    Sbom(#[from] sbom::Error),
}

/// Runs the command that the arguments of this process name.
pub fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let workspace = Workspace::read()?;
    let created = created(env::var("SOURCE_DATE_EPOCH").ok())?;
    let output = arguments.output.clone().unwrap_or_else(|| workspace.target_directory.join("images"));
    fs::create_dir_all(&output).map_err(|error| Error::File(output.clone(), error))?;
    let others = arguments.example.then_some(&EXAMPLE).into_iter().chain(arguments.agent.then_some(&AGENT));
    for program in PROGRAMS.iter().chain(others) {
        write(&workspace, program, arguments, created, &output)?;
    }
    Ok(())
}

/// Writes the archive and the bill of materials of a program, and says what they are.
fn write(
    workspace: &Workspace,
    program: &Program,
    arguments: &Arguments,
    created: Timestamp,
    output: &Path,
) -> Result<(), Error> {
    let package = workspace.package(program.name)?;
    let Compiled { executable, crates } = compile(workspace, program.name)?;
    let binary = fs::read(&executable).map_err(|error| Error::File(executable, error))?;
    let tag = arguments.tag.clone().unwrap_or_else(|| Tag::of_version(&package.version));
    let reference = Reference { repository: arguments.repository.clone(), name: program.name, tag };
    let sbom = sbom::sbom(package, &binary, &workspace.dependencies(&package.name)?, &crates, &workspace.toolchain()?)?;
    let image = Image { program, package, created, architecture: workspace.architecture()?, binary };
    let archive = archive(&image, &reference)?;

    let path = output.join(format!("{}.tar", program.name));
    if archive.bytes.len() > LARGEST {
        return Err(Error::TooLarge(path, archive.bytes.len()));
    }
    let sbom_path = output.join(format!("{}.cdx.json", program.name));
    for (path, content) in [(&path, &archive.bytes), (&sbom_path, &sbom.into_bytes())] {
        fs::write(path, content).map_err(|error| Error::File(path.clone(), error))?;
    }
    // Nothing is wrong if nobody reads it.
    let _ =
        writeln!(io::stdout(), "{reference}  {}  {} bytes  {}", archive.digest, archive.bytes.len(), path.display());
    Ok(())
}

/// The time of everything in the images: <https://reproducible-builds.org/specs/source-date-epoch/>.
fn created(epoch: Option<String>) -> Result<Timestamp, Error> {
    let Some(epoch) = epoch else { return Ok(Timestamp::UNIX_EPOCH) };
    let seconds = epoch.parse().ok().filter(|seconds| *seconds >= 0);
    seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).ok_or(Error::Time(epoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_source_date_epoch() {
        for (epoch, expected) in [
            (None, Ok("1970-01-01T00:00:00Z")),
            (Some("1767225600"), Ok("2026-01-01T00:00:00Z")),
            (Some(""), Err("SOURCE_DATE_EPOCH=: it should be seconds since 1970")),
            (Some("-1"), Err("SOURCE_DATE_EPOCH=-1: it should be seconds since 1970")),
        ] {
            let found =
                created(epoch.map(str::to_owned)).map(|time| time.to_string()).map_err(|error| error.to_string());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned));
        }
    }
}
