//! The archive of an image: an OCI image layout, which containerd and skopeo import, and the index of `docker save` beside it, for
//! engines that know only that. The same image gives the same bytes.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
};

use flate2::{Compression, GzBuilder};
use oci_spec::{
    OciSpecError,
    image::{
        ANNOTATION_REF_NAME, Descriptor, Digest, ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayoutBuilder,
        Os, PlatformBuilder, SCHEMA_VERSION,
    },
};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::{image::Image, reference::Reference};

/// The full name by which containerd keeps an image that it imports.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Spec(#[from] OciSpecError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

#[derive(Debug)]
pub struct Archive {
    /// The digest of the image: that of its manifest. The name of the image is not part of it.
    pub digest: String,
    pub bytes: Vec<u8>,
}

/// The archive of an image with this name.
///
/// # Errors
/// Returns an error if the image cannot be described.
pub fn archive(image: &Image, reference: &Reference) -> Result<Archive, Error> {
    let mut files = Files::default();
    let layer = layer(image)?;
    let config = files.store(MediaType::ImageConfig, json_bytes(&image.configuration(&digest(&layer))?)?)?;
    let layer = files.store(MediaType::ImageLayerGzip, compressed(&layer)?)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config.clone())
        .layers([layer.clone()])
        .build()?;
    let mut manifest = files.store(MediaType::ImageManifest, json_bytes(&manifest)?)?;
    let digest = manifest.digest().to_string();

    let names = [(CONTAINERD_NAME, reference.to_string()), (ANNOTATION_REF_NAME, reference.tag.to_string())];
    manifest.set_annotations(Some(names.map(|(key, value)| (key.to_owned(), value)).into()) as Option<HashMap<_, _>>);
    let platform = PlatformBuilder::default().architecture(image.architecture.clone()).os(Os::Linux).build()?;
    manifest.set_platform(Some(platform));
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests([manifest])
        .build()?;
    let layout = OciLayoutBuilder::default().image_layout_version("1.0.0").build()?;
    let saved = json!([{
        "Config": path(config.digest()), "RepoTags": [reference.to_string()], "Layers": [path(layer.digest())],
    }]);
    files.0.insert("oci-layout".into(), json_bytes(&layout)?);
    files.0.insert("index.json".into(), json_bytes(&index)?);
    files.0.insert("manifest.json".into(), json_bytes(&saved)?);
    Ok(Archive { digest, bytes: files.packed()? })
}

/// The contents of an archive by their paths.
#[derive(Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// Adds a blob.
    fn store(&mut self, kind: MediaType, content: Vec<u8>) -> Result<Descriptor, OciSpecError> {
        let digest: Digest = digest(&content).parse()?;
        let descriptor = Descriptor::new(kind, content.len() as u64, digest.clone());
        self.0.insert(path(&digest), content);
        Ok(descriptor)
    }

    fn packed(self) -> io::Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for folder in ["blobs/", "blobs/sha256/"] {
            append(&mut tar, EntryType::Directory, folder, 0o755, 0, &[])?;
        }
        for (path, content) in self.0 {
            append(&mut tar, EntryType::Regular, &path, 0o644, 0, &content)?;
        }
        tar.into_inner()
    }
}

/// The root file system: the binary, which belongs to root, so that the program cannot change it.
fn layer(image: &Image) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let time = image.created.as_second().unsigned_abs();
    append(&mut tar, EntryType::Regular, image.program.name, 0o755, time, &image.binary)?;
    tar.into_inner()
}

/// Appends an entry that has nothing of the machine and of the user.
fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    kind: EntryType,
    path: &str,
    mode: u32,
    time: u64,
    content: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
}

fn compressed(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(content)?;
    gzip.finish()
}

/// The bytes of a document. The crate keeps maps in no order; a [`serde_json::Value`] has one.
fn json_bytes(document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&serde_json::to_value(document)?)
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.digest())
}

#[cfg(test)]
mod tests;
