//! The arguments of `local`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use portcullis_crds::{check::HttpTarget, contract::HttpBackend};

use super::{error::Error, secrets};
use crate::manifests::{Sources, is_stdin};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Files and folders. Of a folder the files *.yaml, *.yml and *.json are read, and no folders in it
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// The folder for keys, logs and summary.json [default: one for the same PATHs, below $XDG_STATE_HOME/portcullis]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The address of the first server; further servers count up from its port. Port 0 means free ports
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// Replace the URL of an http backend, so that the manifests need not differ from the cluster's; can be repeated
    #[arg(long = "backend", value_name = "NAME=URL", value_parser = backend)]
    pub backends: Vec<(String, String)>,
    /// A Secret that backends need: a folder whose files are its keys, as in a mounted volume; changes take effect; can be repeated
    #[arg(long = "secret", value_name = "NAME=FOLDER", value_parser = secrets::argument)]
    pub secrets: Vec<(String, PathBuf)>,
    /// The server's program [default: portcullis-server in the folder of this program]
    #[arg(long, value_name = "PATH")]
    pub server_binary: Option<PathBuf>,
}

impl Options {
    /// # Errors
    /// Returns an error if a path is neither a file nor a folder, which cannot be followed.
    pub(super) fn sources(&self) -> Result<Sources, Error> {
        let is_other =
            |path: &&PathBuf| is_stdin(path) || path.metadata().is_ok_and(|it| !it.is_file() && !it.is_dir());
        match self.paths.iter().find(is_other) {
            Some(path) => Err(Error::NotFollowed { path: path.clone() }),
            None => Ok(Sources::new(self.paths.clone())),
        }
    }

    /// # Errors
    /// Returns an error if the server's program does not exist.
    pub(super) fn find_server_binary(&self) -> Result<PathBuf, Error> {
        let name = Path::new("portcullis-server");
        let beside = || Some(std::env::current_exe().ok()?.parent()?.join(name));
        let binary = self.server_binary.clone().or_else(beside).unwrap_or_else(|| name.to_owned());
        if binary.is_file() { Ok(binary) } else { Err(Error::NoServerBinary { binary }) }
    }
}

/// A URL that is checked here is not checked again when it replaces the one of the manifest.
fn backend(text: &str) -> Result<(String, String), String> {
    let (name, url) = text.split_once('=').ok_or("must be NAME=URL, such as crm-api=http://127.0.0.1:8080")?;
    let backend = HttpBackend { url: url.to_owned(), health_path: None };
    match HttpTarget::new(&backend) {
        Ok(_) => Ok((name.to_owned(), url.to_owned())),
        Err(findings) => {
            let messages: Vec<_> = findings.0.into_iter().map(|finding| finding.message).collect();
            Err(format!("the URL {}", messages.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_a_name_and_a_url_that_requests_can_be_made_of() {
        assert_eq!(backend("api=http://127.0.0.1:8080/v1"), Ok(("api".into(), "http://127.0.0.1:8080/v1".into())));
        for (text, error) in [
            ("http://x", "must be NAME=URL, such as crm-api=http://127.0.0.1:8080"),
            ("api=x:1", "the URL must begin with http:// or https://"),
            ("api=http://a:99999", "the URL the port must be a number from 1 to 65535"),
        ] {
            assert_eq!(backend(text).as_ref().map_err(String::as_str), Err(error), "{text}");
        }
    }
}
