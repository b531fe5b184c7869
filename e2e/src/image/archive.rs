//! An image as an OCI archive: a tar of the [OCI image layout], which `ctr images import`, `docker
//! load`, `podman load`, `kind load image-archive` and `skopeo copy oci-archive:` read. It also has
//! the `manifest.json` of Docker's older format, which Docker's older image store asks for.
//!
//! The archive depends on the image's contents alone: entries are sorted, owned by root and dated
//! to the epoch, and the layer is not compressed, so that no compressor's version shows.
//!
//! [OCI image layout]: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Image, Run};

const EPOCH: &str = "1970-01-01T00:00:00Z";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file that belongs into it could not be read.
    #[error("cannot read {path} for image {reference}: {source}")]
    Read {
        /// Path in the image.
        path: String,
        /// Name of the image.
        reference: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A path in it is not absolute, or occurs twice.
    #[error("image {reference} cannot hold {path}: a path is absolute, free of `..`, and occurs once")]
    Path {
        /// Path in the image.
        path: String,
        /// Name of the image.
        reference: String,
    },
    /// The archive could not be written.
    #[error("cannot write image archive {path}: {source}")]
    Write {
        /// The archive.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Digest of the manifest, as `sha256:…`: the identity of the image.
    pub digest: String,
    /// Bytes of the layer, which is what the image takes on a node.
    pub layer_bytes: u64,
}

/// Writes an image as an OCI archive to a file, by way of a temporary file beside it.
pub fn write(image: &Image, out: &Path) -> Result<Written, ArchiveError> {
    let layer = layer(image)?;
    let layer_blob = Blob::new(LAYER, layer);
    let config = Blob::json(CONFIG, &config(&image.run, &layer_blob.digest));
    let manifest = Blob::json(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [layer_blob.descriptor()],
        }),
    );
    let written = Written { digest: manifest.digest.clone(), layer_bytes: layer_blob.bytes.len() as u64 };
    let index = index(image, &manifest);
    let docker = json!([{
        "Config": config.path(),
        "RepoTags": [image.reference],
        "Layers": [layer_blob.path()],
    }]);
    let archive = layout(&index, &docker, &[layer_blob, config, manifest])
        .map_err(|source| ArchiveError::Write { path: out.to_owned(), source })?;
    replace(out, &archive).map_err(|source| ArchiveError::Write { path: out.to_owned(), source })?;
    Ok(written)
}

/// The one layer: a tar of the files and of the directories above them.
fn layer(image: &Image) -> Result<Vec<u8>, ArchiveError> {
    let mut directories = BTreeSet::new();
    let mut files = BTreeMap::new();
    for file in &image.files {
        let bad = || ArchiveError::Path { path: file.path.clone(), reference: image.reference.clone() };
        let relative = file.path.strip_prefix('/').ok_or_else(bad)?;
        if relative.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(bad());
        }
        directories.extend(relative.match_indices('/').map(|(at, _)| relative[..at].to_owned()));
        if files.insert(relative.to_owned(), file).is_some() {
            return Err(bad());
        }
    }
    let mut tar = tar::Builder::new(Vec::new());
    let broken = "a tar in memory takes every entry with a valid path";
    for directory in &directories {
        append(&mut tar, tar::EntryType::Directory, &format!("{directory}/"), 0o755, &[]).expect(broken);
    }
    for (path, file) in &files {
        let bytes = file.source.read().map_err(|source| ArchiveError::Read {
            path: file.path.clone(),
            reference: image.reference.clone(),
            source,
        })?;
        append(&mut tar, tar::EntryType::Regular, path, file.mode, &bytes).expect(broken);
    }
    Ok(tar.into_inner().expect(broken))
}

fn config(run: &Run, layer_digest: &str) -> serde_json::Value {
    let empty_objects = |names: &[String]| -> BTreeMap<String, serde_json::Value> {
        names.iter().map(|name| (name.clone(), json!({}))).collect()
    };
    let mut process = json!({
        "User": run.user,
        "Entrypoint": run.entrypoint,
        "Cmd": run.command,
        "Env": run.environment,
        "ExposedPorts": empty_objects(&run.ports),
        "Labels": run.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
    });
    if let Some(signal) = &run.stop_signal {
        process["StopSignal"] = json!(signal);
    }
    json!({
        "created": EPOCH,
        "architecture": architecture(),
        "os": "linux",
        "config": process,
        "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
        "history": [{ "created": EPOCH, "created_by": "e2e image" }],
    })
}

fn index(image: &Image, manifest: &Blob) -> serde_json::Value {
    let tag = image.reference.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let mut descriptor = manifest.descriptor();
    descriptor["platform"] = json!({ "architecture": architecture(), "os": "linux" });
    descriptor["annotations"] = json!({
        "org.opencontainers.image.ref.name": tag,
        "io.containerd.image.name": image.reference,
    });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] })
}

fn layout(index: &serde_json::Value, docker: &serde_json::Value, blobs: &[Blob]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for directory in ["blobs/", "blobs/sha256/"] {
        append(&mut tar, tar::EntryType::Directory, directory, 0o755, &[])?;
    }
    let mut sorted: Vec<&Blob> = blobs.iter().collect();
    sorted.sort_by(|left, right| left.digest.cmp(&right.digest));
    for blob in sorted {
        append(&mut tar, tar::EntryType::Regular, &blob.path(), 0o644, &blob.bytes)?;
    }
    append(&mut tar, tar::EntryType::Regular, "index.json", 0o644, index.to_string().as_bytes())?;
    append(&mut tar, tar::EntryType::Regular, "manifest.json", 0o644, docker.to_string().as_bytes())?;
    append(&mut tar, tar::EntryType::Regular, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar.into_inner()
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    path: &str,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes)
}

/// Name of this machine's processor as container images spell it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Writes a file so that a reader sees the old or the new contents, never a part.
fn replace(out: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut temporary, bytes)?;
    temporary.persist(out).map_err(|error| error.error)?;
    Ok(())
}

/// One content-addressed part of an image.
struct Blob {
    media_type: &'static str,
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { media_type, digest: format!("sha256:{}", hex(&Sha256::digest(&bytes))), bytes }
    }

    fn json(media_type: &'static str, value: &serde_json::Value) -> Self {
        Self::new(media_type, value.to_string().into_bytes())
    }

    fn path(&self) -> String {
        self.digest.replace("sha256:", "blobs/sha256/")
    }

    fn descriptor(&self) -> serde_json::Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// Lower-case hexadecimal digits of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

#[cfg(test)]
mod tests;
