//! Files and folders as artifacts, by the command line.

mod hostile;
mod oras;
mod places;
mod seeds;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::run::{Ran, oci_store, run};

/// Runs `oci-store artifact` in a folder, with arguments split at spaces.
fn artifact(folder: &Path, line: &str) -> Ran {
    run(oci_store().current_dir(folder).arg("artifact").args(line.split(' ')))
}

/// Makes a folder `tree` with what a folder may have, and a file beside it. All of it is of the first second of 1970, for oras
/// packs the time.
fn make_tree(folder: &Path) {
    let long = "n".repeat(120);
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("sub").join(&long)).expect("a folder can be made");
    fs::write(tree.join("a.txt"), "a").expect("a file can be written");
    fs::write(tree.join("sub/run.sh"), "#!/bin/sh").expect("a file can be written");
    fs::set_permissions(tree.join("sub/run.sh"), fs::Permissions::from_mode(0o750)).expect("its mode can be set");
    fs::write(tree.join("sub").join(&long).join("n".repeat(90)), "deep").expect("a file can be written");
    fs::write(tree.join(format!("sub/ä{long}")), vec![b'x'; 300_000]).expect("a file can be written");
    symlink("../a.txt", tree.join("sub/up")).expect("a link can be made");
    fs::write(folder.join("single.txt"), "one file").expect("a file can be written");
    let touched = std::process::Command::new("find")
        .arg(folder)
        .args(["-exec", "touch", "-h", "-d", "@0", "{}", "+"])
        .status()
        .expect("find is there");
    assert!(touched.success());
}

/// Returns all that is below a folder: files with content and mode, links with target.
fn contents(folder: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("a folder can be read").path();
            let metadata = fs::symlink_metadata(&path).expect("it was listed");
            let mode = metadata.permissions().mode() & 0o7777;
            let what = if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).expect("it is a link").display())
            } else if metadata.is_dir() {
                walk(root, &path, found);
                format!("folder {mode:o}")
            } else {
                format!("{mode:o} {}", String::from_utf8_lossy(&fs::read(&path).expect("it is a file")))
            };
            found.insert(path.strip_prefix(root).expect("it is below").display().to_string(), what);
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}
