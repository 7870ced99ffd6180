//! The real oras on one side and ours on the other: what one pushes the other pulls, and what both push is the same.

use std::process::Command;

use super::*;
use crate::support::registry::Registry;
use crate::support::service;

const CREATED: &str = "org.opencontainers.image.created=2026-01-01T00:00:00Z";

struct Both {
    oras: String,
    registry: Registry,
    folder: tempfile::TempDir,
    _storage: tempfile::TempDir,
}

impl Both {
    fn get() -> Option<Self> {
        let oras = service("oras", "OCI_STORE_TEST_ORAS")?;
        let storage = tempfile::tempdir().expect("a folder can be made");
        let registry = Registry::dockers_on_folder(storage.path())?;
        let folder = tempfile::tempdir().expect("a folder can be made");
        make_tree(folder.path());
        Some(Self { oras, registry, folder, _storage: storage })
    }

    fn place(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address)
    }

    fn oras(&self, line: &str) -> Ran {
        let mut command = Command::new(&self.oras);
        let ran = run(command.current_dir(self.folder.path()).env_remove("ORAS_CACHE").args(line.split(' ')));
        assert_eq!(ran.code, Some(0), "oras {line}: {ran:#?}");
        ran
    }

    fn ours(&self, line: &str) -> Ran {
        let ran = artifact(self.folder.path(), line);
        assert_eq!(ran.code, Some(0), "{line}: {ran:#?}");
        ran
    }

    fn manifest(&self, place: &str) -> String {
        self.oras(&format!("manifest fetch --plain-http {place}")).stdout
    }
}

#[test]
fn both_push_the_same_manifest() {
    let Some(both) = Both::get() else { return };
    let folder = both.folder.path();
    fs::write(folder.join("config.json"), r#"{"name":"foo"}"#).unwrap();
    let notes = r#"{"$manifest":{"a":"<&>"},"$config":{"b":"c"},"single.txt":{"org.opencontainers.image.title":"other.txt","d":"é"}}"#;
    fs::write(
        folder.join("notes.json"),
        notes.replace("\"a\"", "\"org.opencontainers.image.created\":\"2026-01-01T00:00:00Z\",\"a\""),
    )
    .unwrap();
    for (number, line) in [
        format!("single.txt --annotation {CREATED}"),
        format!("single.txt:text/plain ./tree/a.txt --annotation {CREATED} --annotation k=<v>"),
        format!(
            "--config config.json:application/vnd.docker.volume.v1+tar.gz single.txt:text/plain --annotation {CREATED}"
        ),
        format!("--config config.json:a/b --artifact-type c/d single.txt config.json --annotation {CREATED}"),
        format!("--config config.json single.txt --annotation {CREATED}"),
        format!("--config /dev/null:application/vnd.acme.rocket.config --annotation {CREATED}"),
        format!("--artifact-type c/d --annotation {CREATED}"),
        "single.txt --annotation-file notes.json".to_owned(),
        "--config config.json:a/b single.txt --annotation-file notes.json".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let (theirs, ours) = (both.place(&format!("same{number}:theirs")), both.place(&format!("same{number}:ours")));
        both.oras(&format!("push --plain-http {theirs} {line}"));
        both.ours(&format!("push --plain-http {ours} {line}"));
        assert_eq!(both.manifest(&ours), both.manifest(&theirs), "{line}");
    }
    let subject = both.place("same0:ours");
    let (theirs, ours) = (
        both.oras(&format!(
            "attach --plain-http {subject} single.txt --artifact-type a/b --annotation {CREATED} --format json"
        )),
        both.ours(&format!("attach --plain-http {subject} single.txt --artifact-type a/b --annotation {CREATED}")),
    );
    assert!(theirs.stdout.contains(ours.digest()), "{theirs:?}");
}

#[test]
fn a_folder_is_packed_into_the_same_tar_and_unpacked_by_either() {
    let Some(both) = Both::get() else { return };
    let (theirs, ours) = (both.place("tree:theirs"), both.place("tree:ours"));
    both.oras(&format!("push --plain-http {theirs} tree single.txt"));
    both.ours(&format!("push --plain-http {ours} tree single.txt"));
    let layer = |place: &str| -> serde_json::Value {
        let manifest: serde_json::Value = serde_json::from_str(&both.manifest(place)).unwrap();
        manifest["layers"][0].clone()
    };
    let (theirs_layer, ours_layer) = (layer(&theirs), layer(&ours));
    // The tar is the same; how it is compressed is the business of the library.
    assert_eq!(ours_layer["annotations"], theirs_layer["annotations"]);
    assert_eq!(ours_layer["mediaType"], theirs_layer["mediaType"]);
    both.ours(&format!("pull --plain-http {theirs} -o by-us"));
    both.oras(&format!("pull --plain-http {ours} -o by-them"));
    let original = both.folder.path().join("tree");
    for output in ["by-us", "by-them"] {
        let output = both.folder.path().join(output);
        assert_eq!(contents(&output.join("tree")), contents(&original), "{}", output.display());
        assert_eq!(fs::read(output.join("single.txt")).unwrap(), b"one file");
    }
}

#[test]
fn what_one_attaches_the_other_finds() {
    let Some(both) = Both::get() else { return };
    let place = both.place("subject:v1");
    both.ours(&format!("push --plain-http {place} single.txt"));
    let ours = both.ours(&format!("attach --plain-http {place} single.txt --artifact-type our/sbom"));
    both.oras(&format!("attach --plain-http {place} single.txt --artifact-type their/sbom"));
    let found_by_oras = both.oras(&format!("discover --plain-http {place} --format json")).stdout;
    assert!(found_by_oras.contains(ours.digest()) && found_by_oras.contains("their/sbom"), "{found_by_oras}");
    let found = both.ours(&format!("discover --plain-http {place}")).stdout;
    assert!(found.contains("our/sbom") && found.contains("their/sbom"), "{found}");
}
