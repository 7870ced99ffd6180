//! The command lines of the tools that this one takes the place of, in the form that the README gives for them.

use super::*;
use crate::support::registry::Registry;

/// A registry and a folder to run command lines in.
struct Ground {
    registry: Registry,
    folder: tempfile::TempDir,
    _storage: tempfile::TempDir,
}

impl Ground {
    fn get() -> Option<Self> {
        let storage = tempfile::tempdir().expect("a folder can be made");
        let registry = Registry::dockers_on_folder(storage.path())?;
        Some(Self { registry, folder: tempfile::tempdir().expect("a folder can be made"), _storage: storage })
    }

    /// Runs a line in which `HOST` is the registry.
    fn artifact(&self, line: &str) -> Ran {
        let ran = artifact(self.folder.path(), &line.replace("HOST", &self.registry.address));
        assert_eq!(ran.code, Some(0), "{line}: {ran:#?}");
        ran
    }
}

#[test]
fn ocitool() {
    let Some(ground) = Ground::get() else { return };
    let folder = ground.folder.path();
    fs::write(folder.join("file1.txt"), "one").unwrap();
    fs::write(folder.join("file2.conf"), "two").unwrap();
    ground.artifact("push --plain-http --as-image HOST/yourorg/yourimage:latest file1.txt file2.conf");
    fs::remove_file(folder.join("file1.txt")).unwrap();
    fs::remove_file(folder.join("file2.conf")).unwrap();
    ground.artifact("pull --plain-http HOST/yourorg/yourimage:latest");
    assert_eq!(fs::read(folder.join("file1.txt")).unwrap(), b"one");
    assert_eq!(fs::read(folder.join("file2.conf")).unwrap(), b"two");
}

#[test]
fn oras() {
    let Some(ground) = Ground::get() else { return };
    let folder = ground.folder.path();
    fs::create_dir(folder.join("build")).unwrap();
    fs::write(folder.join("build/foo.txt"), "bar\n").unwrap();
    fs::write(folder.join("build/config.json"), "{\"name\":\"foo\",\"value\":\"bar\"}\n").unwrap();
    let config = "--config ./build/config.json:application/vnd.docker.volume.v1+tar.gz";
    ground.artifact(&format!("push HOST/chrisguest/ocitest:0.0.1 --plain-http {config} ./build/foo.txt:text/plain"));
    ground.artifact("pull -o ./pulled HOST/chrisguest/ocitest:0.0.1 --plain-http");
    assert_eq!(fs::read(folder.join("pulled/build/foo.txt")).unwrap(), b"bar\n");
    fs::write(folder.join("build/foo.txt"), "bar\noci is cool\n").unwrap();
    ground.artifact(&format!("push HOST/chrisguest/ocitest:0.0.2 --plain-http {config} ./build/foo.txt:text/plain"));
    ground.artifact("pull -o ./pulled/0.0.2 HOST/chrisguest/ocitest:0.0.2 --plain-http");
    assert_eq!(fs::read(folder.join("pulled/0.0.2/build/foo.txt")).unwrap(), b"bar\noci is cool\n");
}

#[test]
fn oras_py() {
    let Some(ground) = Ground::get() else { return };
    let file = ground.folder.path().join("artifact.txt");
    fs::write(&file, "hello dinosaur\n").unwrap();
    ground.artifact(
        "push --plain-http HOST/dinosaur/artifact:v1 --manifest-config /dev/null:application/vnd.acme.rocket.config ./artifact.txt",
    );
    fs::remove_file(&file).unwrap();
    ground.artifact("pull --plain-http HOST/dinosaur/artifact:v1");
    assert_eq!(fs::read(&file).unwrap(), b"hello dinosaur\n");
}
