//! Compiles a program for its image: static, and with nothing of this machine's folders in it.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::workspace::{Failed, Workspace, cargo, output};

/// Where the workspace is to the compilers. It is its folder in the Dockerfiles, so that they need no flag for it.
const WORKSPACE: &str = "/portcullis";
/// Where cargo's own folder is to the compilers, as in the image `rust`.
const CARGO_HOME: &str = "/usr/local/cargo";

#[derive(Debug, PartialEq)]
pub struct Compiled {
    pub executable: PathBuf,
    /// The name and version of each crate that was compiled for the program itself, and not for a build script or a macro.
    pub crates: BTreeSet<(String, String)>,
}

/// Compiles a program of the workspace.
///
/// # Errors
/// Returns an error if cargo fails; it says why on standard error.
pub fn compile(workspace: &Workspace, package: &str) -> Result<Compiled, Failed> {
    let mut command = cargo();
    // With a named target, flags do not apply to build scripts and procedural macros, which cannot be static.
    command.args(["build", "--locked", "--release", "--package", package, "--target", &workspace.host]);
    command.args(["--message-format", "json-render-diagnostics"]).current_dir(&workspace.root);
    // One directory for all, whatever else is in the environment.
    command.arg("--target-dir").arg(&workspace.target_directory);
    // The C compiler puts it in place of the time of the build, which mimalloc has in its texts.
    if env::var_os("SOURCE_DATE_EPOCH").is_none() {
        command.env("SOURCE_DATE_EPOCH", "0");
    }
    let folders = folders(workspace)?;
    command.env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&folders)).env("CFLAGS", c_flags(&folders)?);
    let messages = output(&mut command)?;
    let target = workspace.target_directory.join(&workspace.host);
    compiled(&messages, package, &target).ok_or_else(|| Failed::Missing(package.to_owned()))
}

/// Each folder that paths in the program may begin with, and what it is called there.
fn folders(workspace: &Workspace) -> Result<[(PathBuf, &'static str); 2], Failed> {
    let home = env::var_os("CARGO_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo"))).ok_or(Failed::NoHome)?;
    Ok([(workspace.root.clone(), WORKSPACE), (home, CARGO_HOME)])
}

/// The flags of rustc, separated as cargo wants them, so that a folder may have spaces.
fn rust_flags(folders: &[(PathBuf, &'static str)]) -> OsString {
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    for (folder, name) in folders {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(folder);
        flags.push("=");
        flags.push(name);
    }
    flags
}

/// The flags of the C compiler, which are separated by spaces.
fn c_flags(folders: &[(PathBuf, &'static str)]) -> Result<String, Failed> {
    let flag = |(folder, name): &(PathBuf, &str)| match folder.to_str() {
        Some(folder) if !folder.contains(char::is_whitespace) => Ok(format!("-ffile-prefix-map={folder}={name}")),
        _ => Err(Failed::Folder(folder.clone())),
    };
    folders.iter().map(flag).collect::<Result<Vec<_>, _>>().map(|flags| flags.join(" "))
}

/// A message of cargo, as far as it is of interest.
#[derive(Deserialize)]
struct Message {
    package_id: Option<String>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// What the messages of cargo say was compiled. What is for the program is below the folder of its target, and what is for this
/// machine is not.
fn compiled(messages: &str, package: &str, target: &Path) -> Option<Compiled> {
    let messages: Vec<Message> = messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let crates = messages.iter().filter(|message| message.filenames.iter().any(|path| path.starts_with(target)));
    let crates = crates.filter_map(|message| message.package_id.as_deref()).filter_map(name_and_version).collect();
    let is_program = |message: &&Message| message.target.as_ref().is_some_and(|target| target.name == package);
    let executable = messages.iter().filter(is_program).find_map(|message| message.executable.clone())?;
    Some(Compiled { executable, crates })
}

/// Those of an id such as `registry+https://…#name@1.0.0`, `path+file:///folder/name#1.0.0`.
fn name_and_version(id: &str) -> Option<(String, String)> {
    let (source, fragment) = id.rsplit_once('#')?;
    let (name, version) = fragment.split_once('@').or_else(|| Some((source.rsplit('/').next()?, fragment)))?;
    Some((name.to_owned(), version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compiled_for_the_program_is_told_from_what_was_compiled_for_this_machine() {
        let messages = r#"
{"reason":"compiler-artifact","package_id":"registry+https://example.org/index#a@1.0.0","target":{"name":"a"},"filenames":["/t/arch/release/deps/liba.rlib"],"executable":null}
{"reason":"compiler-artifact","package_id":"registry+https://example.org/index#macros@1.0.0","target":{"name":"macros"},"filenames":["/t/release/deps/libmacros.so"],"executable":null}
{"reason":"compiler-artifact","package_id":"registry+https://example.org/index#a@1.0.0","target":{"name":"build-script-build"},"filenames":["/t/release/build/a/build-script-build"],"executable":null}
{"reason":"build-script-executed","package_id":"registry+https://example.org/index#sys@1.0.0","out_dir":"/t/arch/release/build/sys/out"}
{"reason":"compiler-artifact","package_id":"path+file:///w/folder#own@0.1.0","target":{"name":"own"},"filenames":["/t/arch/release/libown.rlib"],"executable":null}
{"reason":"compiler-artifact","package_id":"path+file:///w/program#0.1.0","target":{"name":"program"},"filenames":["/t/arch/release/program"],"executable":"/t/arch/release/program"}
{"reason":"build-finished","success":true}
"#;
        let key = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        let expected = Compiled {
            executable: "/t/arch/release/program".into(),
            crates: [key("a", "1.0.0"), key("own", "0.1.0"), key("program", "0.1.0")].into(),
        };
        assert_eq!(compiled(messages, "program", Path::new("/t/arch")), Some(expected));
        assert_eq!(compiled(messages, "another", Path::new("/t/arch")), None);
    }

    #[test]
    fn compilers_write_other_folders_than_those_of_this_machine() {
        let folders = [(PathBuf::from("/home/a/w"), WORKSPACE), (PathBuf::from("/home/a/.cargo"), CARGO_HOME)];
        assert_eq!(
            rust_flags(&folders).to_str().unwrap().split('\u{1f}').collect::<Vec<_>>(),
            [
                "-Ctarget-feature=+crt-static",
                "--remap-path-prefix=/home/a/w=/portcullis",
                "--remap-path-prefix=/home/a/.cargo=/usr/local/cargo",
            ]
        );
        assert_eq!(
            c_flags(&folders).unwrap(),
            "-ffile-prefix-map=/home/a/w=/portcullis -ffile-prefix-map=/home/a/.cargo=/usr/local/cargo"
        );
        assert!(matches!(c_flags(&[("/a b".into(), WORKSPACE)]), Err(Failed::Folder(_))));
    }
}
