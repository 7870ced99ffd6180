//! What is hostile ends with the exit code for it, and leaves no trace. The unit tests have the whole list.

use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// Has Python write a tar, which lets one say anything in its headers.
const MAKE: &str = r"
import io, sys, tarfile
out = tarfile.open(fileobj=sys.stdout.buffer, mode='w:gz', format=tarfile.PAX_FORMAT)
def add(name, kind=tarfile.REGTYPE, link='', mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, 1 if kind == tarfile.REGTYPE else 0
    out.addfile(info, io.BytesIO(b'x') if info.size else None)
add('box/first')
exec(sys.argv[1])
out.close()
";

#[test]
fn hostile_archives_are_refused_by_name_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("canary"), "as it was").unwrap();
    let notes = r#"{"box.tgz":{"org.opencontainers.image.title":"box","io.deis.oras.content.unpack":"true"}}"#;
    fs::write(folder.path().join("notes.json"), notes).unwrap();
    for (script, named) in [
        ("add('box/../../canary')", "box/../../canary"),
        ("add('/tmp/oci-store-canary')", "/tmp/oci-store-canary"),
        ("add('box/l', tarfile.SYMTYPE, '../..'); add('box/l/canary')", "box/l"),
        ("add('box/h', tarfile.LNKTYPE, 'box/../../canary')", "box/h"),
        ("add('box/su', mode=0o4755)", "box/su"),
        ("add('box/dev', tarfile.CHRTYPE)", "box/dev"),
        ("add('box/' + 'd/' * 2000 + 'x')", "64 folders deep"),
        ("add('box/A'); add('box/a')", "box/a"),
        ("add('box/\\x1b[31m')", "control character"),
        ("out.fileobj.write(b'x' * 512)", "a header is not readable"),
    ] {
        let mut python = Command::new("python3");
        let made = python.args(["-c", MAKE, script]).stdin(Stdio::null()).output().expect("python3 is there");
        assert!(made.status.success(), "{script}: {made:?}");
        fs::File::create(folder.path().join("box.tgz")).unwrap().write_all(&made.stdout).unwrap();
        artifact(folder.path(), "push fs://bucket/bad:v1 box.tgz --annotation-file notes.json").line();
        let before = contents(folder.path());
        let ran = artifact(folder.path(), "pull fs://bucket/bad:v1 -o out");
        ran.failed(13, named);
        assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
        assert_eq!(contents(folder.path()), before, "{script}");
    }
    assert!(!Path::new("/tmp/oci-store-canary").exists());
}

#[test]
fn a_blob_that_is_damaged_in_the_bucket_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    make_tree(folder.path());
    artifact(folder.path(), "push fs://bucket/files:v1 single.txt tree").line();
    let blobs = crate::places::walk(&folder.path().join("bucket/docker/registry/v2/blobs"));
    let file = blobs.iter().find(|path| fs::read(path).unwrap() == b"one file").unwrap();
    fs::write(file, "two file").unwrap();
    let before = contents(folder.path());
    artifact(folder.path(), "pull fs://bucket/files:v1 -o out").failed(13, "damaged");
    assert_eq!(contents(folder.path()), before);
}
