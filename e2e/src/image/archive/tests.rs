use std::collections::BTreeMap;
use std::io::Read as _;

use super::super::{File, Source};
use super::*;

fn image() -> Image {
    let file = |path: &str, mode, bytes: &[u8]| File {
        path: path.to_owned(),
        mode,
        source: Source::Bytes(bytes.to_vec()),
    };
    Image {
        reference: "localhost/test/thing:dev".to_owned(),
        files: vec![
            file("/usr/bin/thing", 0o755, b"program"),
            file("/etc/thing/settings.toml", 0o644, b"a = 1\n"),
        ],
        run: Run {
            entrypoint: vec!["/usr/bin/thing".to_owned()],
            command: vec!["--verbose".to_owned()],
            user: "65532:65532".to_owned(),
            ports: vec!["8080/tcp".to_owned()],
            ..Run::default()
        },
    }
}

fn archive(image: &Image) -> (Written, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("image.tar");
    let written = write(image, &out).unwrap();
    (written, fs::read(out).unwrap())
}

/// Every regular file of a tar, by path.
fn contents(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if entry.header().entry_type().is_file() {
            files.insert(path, bytes);
        }
    }
    files
}

fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn same_contents_give_the_same_bytes_in_any_order() {
    let (first, first_bytes) = archive(&image());
    let mut reversed = image();
    reversed.files.reverse();
    let (second, second_bytes) = archive(&reversed);
    assert_eq!(first, second);
    assert!(first_bytes == second_bytes, "the archives differ");
}

#[test]
fn age_and_owner_of_a_source_file_do_not_show() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("program");
    let mut from_disk = image();
    from_disk.files[0].source = Source::Path(source.clone());
    fs::write(&source, b"program").unwrap();
    let (fresh, _) = archive(&from_disk);
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::options().write(true).open(&source).unwrap().set_modified(old).unwrap();
    let (aged, _) = archive(&from_disk);
    assert_eq!(fresh.digest, aged.digest);
    assert_eq!(fresh.digest, archive(&image()).0.digest, "a file and its bytes are the same source");
}

#[test]
fn another_byte_gives_another_digest() {
    let mut changed = image();
    changed.files[1].source = Source::Bytes(b"a = 2\n".to_vec());
    assert_ne!(archive(&image()).0.digest, archive(&changed).0.digest);
}

#[test]
fn every_blob_is_what_its_digest_and_size_say() {
    let (written, bytes) = archive(&image());
    let files = contents(&bytes);
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        let blob = files[&digest.replace("sha256:", "blobs/sha256/")].clone();
        assert_eq!(digest, format!("sha256:{}", hex(&Sha256::digest(&blob))));
        assert_eq!(descriptor["size"], blob.len());
        blob
    };
    let index = json(&files["index.json"]);
    let descriptor = &index["manifests"][0];
    assert_eq!(descriptor["digest"], written.digest);
    assert_eq!(descriptor["annotations"]["io.containerd.image.name"], "localhost/test/thing:dev");
    let manifest = json(&blob(descriptor));
    let config = json(&blob(&manifest["config"]));
    let layer = blob(&manifest["layers"][0]);
    let docker = json(&files["manifest.json"]);
    assert_eq!(files[docker[0]["Layers"][0].as_str().unwrap()], layer);
    assert_eq!(docker[0]["RepoTags"][0], "localhost/test/thing:dev");
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["ExposedPorts"], serde_json::json!({ "8080/tcp": {} }));
    assert_eq!(written.layer_bytes, layer.len() as u64);
}

#[test]
fn layer_holds_the_files_and_their_directories_owned_by_root_at_the_epoch() {
    let layer = layer(&image()).unwrap();
    let mut seen = Vec::new();
    for entry in tar::Archive::new(layer.as_slice()).entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        seen.push((entry.path().unwrap().to_string_lossy().into_owned(), header.mode().unwrap()));
    }
    let expected = [
        ("etc/", 0o755),
        ("etc/thing/", 0o755),
        ("usr/", 0o755),
        ("usr/bin/", 0o755),
        ("etc/thing/settings.toml", 0o644),
        ("usr/bin/thing", 0o755),
    ];
    assert_eq!(seen, expected.map(|(path, mode)| (path.to_owned(), mode)));
}

#[test]
fn paths_that_leave_the_image_or_repeat_are_refused() {
    for path in ["relative", "/up/../down", "//double", "/etc/thing/settings.toml"] {
        let mut bad = image();
        bad.files[0].path = path.to_owned();
        assert!(matches!(layer(&bad), Err(ArchiveError::Path { .. })), "{path}");
    }
}
