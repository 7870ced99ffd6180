//! The same image through every kind of place, with equal digests.

use std::fs;

use crate::support::image::docker_save;
use crate::support::run::in_folder;

#[test]
fn an_image_keeps_its_digest_through_every_kind_of_archive() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.tar"), docker_save("app:1", "places", &[1000, 0, 300_000])).unwrap();
    let pushed = in_folder(folder.path(), "fs push b/app:1 -i docker-archive:app.tar");
    let digest = pushed.digest();
    for place in [
        "docker-archive:1.tar",
        "docker-archive:2.tar:other:2",
        "oci-archive:3.tar",
        "oci-archive:4.tar:x",
        "oci:5",
        "oci:6:y",
    ] {
        assert_eq!(in_folder(folder.path(), &format!("fs pull b/app:1 -i {place}")).digest(), digest, "{place}");
        assert_eq!(in_folder(folder.path(), &format!("fs push c/app:1 -i {place}")).digest(), digest, "{place}");
        fs::remove_dir_all(folder.path().join("c")).unwrap();
    }
}

#[test]
fn a_pull_to_a_file_that_fails_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.tar"), docker_save("app:1", "old", &[200_000])).unwrap();
    in_folder(folder.path(), "fs push b/app:1 -i docker-archive:app.tar").line();
    for place in ["docker-archive:back.tar", "oci-archive:back.tar"] {
        fs::write(folder.path().join("back.tar"), "old").unwrap();
        // A layer is damaged in the bucket.
        let blobs = folder.path().join("b/docker/registry/v2/blobs/sha256");
        let largest = walk(&blobs).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        let mut bytes = fs::read(&largest).unwrap();
        bytes[1000] ^= 1;
        fs::write(&largest, bytes).unwrap();
        let ran = in_folder(folder.path(), &format!("fs pull b/app:1 -i {place}"));
        ran.failed(13, "damaged");
        assert_eq!(fs::read(folder.path().join("back.tar")).unwrap(), b"old");
        // The same image pushed again mends the bucket.
        fs::remove_file(&largest).unwrap();
        in_folder(folder.path(), "fs push b/app:1 -i docker-archive:app.tar").line();
    }
    in_folder(folder.path(), "fs pull b/app:1 -i docker-archive:back.tar").line();
}

/// Returns all files below a folder.
pub(crate) fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
