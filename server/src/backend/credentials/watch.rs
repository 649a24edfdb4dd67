//! Reads the values of Secrets again when they change.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::secrets::Secrets;
use crate::directory::{directory_id, start_watch};

/// How long events are collected: an update of a volume causes several.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How often the files are read without an event: a watch sees no change in a folder of the directory.
const POLL: Duration = Duration::from_secs(2);

/// Reads the values again whenever their directory changes. Never returns.
pub async fn watch(secrets: Secrets) {
    let changed = Arc::new(Notify::new());
    let watched = Arc::new(Mutex::new(None));
    loop {
        let (secrets, watched, notified) = (secrets.clone(), watched.clone(), changed.clone());
        // Beside the threads that serve, because a file system may hang.
        let reading = tokio::task::spawn_blocking(move || {
            let Some(directory) = secrets.directory() else { return };
            let mut watched = watched.lock();
            // A watch follows the directory that it was started for, even if another one takes its path.
            let found = directory_id(directory);
            if watched.as_ref().map(|(id, _)| *id) != found {
                *watched = found.and_then(|id| Some((id, start_watch(directory, notified)?)));
            }
            secrets.refresh();
        });
        if reading.await.is_err() {
            tracing::error!("a reading of Secrets failed unexpectedly; the last values stay in use");
        }
        if tokio::time::timeout(POLL, changed.notified()).await.is_ok() {
            tokio::time::sleep(DEBOUNCE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use portcullis_crds::SecretKeyRef;
    use secrecy::ExposeSecret;

    use super::*;

    #[tokio::test]
    async fn a_volume_that_is_swapped_as_by_kubelet_brings_its_new_value() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let version = |version: &str| {
            fs::create_dir_all(root.join(version).join("crm")).unwrap();
            fs::write(root.join(version).join("crm/token"), version).unwrap();
            symlink(version, root.join("..data_tmp")).unwrap();
            fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        };
        version("..1");
        symlink("..data/crm", root.join("crm")).unwrap();
        let secrets = Secrets::new(Some(root.to_owned()));
        let file = secrets.file(&SecretKeyRef { name: "crm".parse().unwrap(), key: "token".parse().unwrap() });
        let value = || file.value().unwrap().expose_secret().to_owned();
        assert_eq!(value(), "..1");
        let watching = tokio::spawn(watch(secrets));
        version("..2");
        tokio::time::timeout(Duration::from_secs(60), async {
            while value() != "..2" {
                tokio::time::sleep(DEBOUNCE).await;
            }
        })
        .await
        .expect("the swap must be seen");
        watching.abort();
    }
}
