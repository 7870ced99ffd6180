//! A real daemon, with a folder and an S3 server as buckets.

use std::process::Command;

use crate::places::walk;
use crate::support::docker::{Docker, LoadedImage};
use crate::support::registry::signal;
use crate::support::run::{Ran, oci_store, run};
use crate::support::s3::S3;

/// Where the bucket is.
enum Bucket {
    Folder(tempfile::TempDir),
    S3(S3),
}

impl Bucket {
    fn all() -> Vec<Self> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::iter::once(Self::Folder(folder)).chain(S3::get().map(Self::S3)).collect()
    }

    fn command(&self, docker: &Docker, verb: &str, reference: &str) -> Command {
        let mut command = oci_store();
        docker.configure(&mut command);
        match self {
            Self::Folder(folder) => {
                command.args(["fs", verb, &format!("demo/{reference}"), "--dir"]).arg(folder.path())
            }
            Self::S3(s3) => s3.configure(&mut command).args(["s3", verb, &format!("{}/{reference}", s3.bucket)]),
        };
        command
    }

    fn run(&self, docker: &Docker, verb: &str, reference: &str, flags: &[&str]) -> Ran {
        run(self.command(docker, verb, reference).args(flags))
    }
}

#[test]
fn an_image_goes_into_a_bucket_and_comes_back() {
    let Some(docker) = Docker::get() else { return };
    for bucket in Bucket::all() {
        // The last layer is larger than a part, so it goes up in several.
        let image = LoadedImage::new(&docker, &[1000, 300_000, 20_000_000]);
        let id = image.id();
        let pushed = bucket.run(&docker, "push", &image.name(), &[]);
        let digest = pushed.digest().to_owned();
        assert_eq!(docker.temporary_names(&image.repository), [""; 0], "push left a name");
        image.remove();
        let pulled = bucket.run(&docker, "pull", &image.name(), &[]);
        assert_eq!(pulled.digest(), digest);
        assert_eq!(image.id(), id);
        assert_eq!(docker.temporary_names(&image.repository), [""; 0], "pull left a name");
    }
}

#[test]
fn the_second_push_sends_nothing_and_neither_does_one_to_another_repository() {
    let Some(docker) = Docker::get() else { return };
    for bucket in Bucket::all() {
        let image = LoadedImage::new(&docker, &[1000, 300_000]);
        let first = document(&bucket.run(&docker, "push", &image.name(), &["--format", "json"]));
        assert_eq!(first["transport"], "registry");
        assert!(first["bytesSent"].as_u64().unwrap() > 300_000, "{first}");
        for reference in [image.name(), format!("other/{}:v2", image.repository)] {
            let again = document(&bucket.run(&docker, "push", &reference, &["-i", &image.name(), "--format", "json"]));
            assert_eq!(again["digest"], first["digest"]);
            assert_eq!(again["bytesSent"], 0, "{again}");
            assert!(again["blobs"].as_array().unwrap().iter().all(|blob| blob["status"] == "exists"), "{again}");
        }
        // What was only linked is all there.
        image.remove();
        bucket.run(&docker, "pull", &format!("other/{}:v2", image.repository), &["-i", &image.name()]).line();
        assert!(docker.id(&image.name()).is_some());
    }
}

fn document(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(ran.line()).expect("the result is JSON")
}

#[test]
fn a_pull_says_what_travelled() {
    let Some(docker) = Docker::get() else { return };
    let bucket = Bucket::all().remove(0);
    let image = LoadedImage::new(&docker, &[1000, 300_000]);
    let pushed = document(&bucket.run(&docker, "push", &image.name(), &["--format", "json"]));
    let nothing = document(&bucket.run(&docker, "pull", &image.name(), &["--format", "json"]));
    assert_eq!(nothing["bytesSent"], 0, "{nothing}");
    image.remove();
    let all = document(&bucket.run(&docker, "pull", &image.name(), &["--format", "json"]));
    assert_eq!(all["bytesSent"], pushed["bytesSent"], "{all}");
    assert!(all["blobs"].as_array().unwrap().iter().all(|blob| blob["status"] == "sent"), "{all}");
}

#[test]
fn the_default_image_is_the_one_the_go_tool_took_if_there_is_no_other() {
    let Some(docker) = Docker::get() else { return };
    let bucket = Bucket::all().remove(0);
    let image = LoadedImage::new(&docker, &[1000]);
    let theirs = format!("demo/{}:v1", image.repository);
    docker.run(&["tag", &image.name(), &theirs]);
    docker.run(&["image", "rm", &image.name()]);
    bucket.run(&docker, "push", &image.name(), &[]).line();
}

#[test]
fn an_unknown_image_is_told_by_both_names_and_nothing_is_made() {
    let Some(docker) = Docker::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = oci_store();
    docker.configure(&mut command);
    let ran = run(command.args(["fs", "push", "demo/no-such-image:v1", "--dir"]).arg(folder.path()));
    ran.failed(10, "no-such-image:v1 or demo/no-such-image:v1");
}

#[test]
fn a_truncated_layer_is_replaced_by_the_next_push() {
    let Some(docker) = Docker::get() else { return };
    for cut in [0, 1000] {
        let Bucket::Folder(folder) = Bucket::all().remove(0) else { unreachable!("the first one is a folder") };
        let (blobs, bucket) = (folder.path().join("demo/docker/registry/v2/blobs"), Bucket::Folder(folder));
        let image = LoadedImage::new(&docker, &[300_000]);
        let digest = bucket.run(&docker, "push", &image.name(), &[]).digest().to_owned();
        let layer = walk(&blobs).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
        std::fs::OpenOptions::new().write(true).open(&layer).unwrap().set_len(cut).unwrap();
        let again = bucket.run(&docker, "push", &image.name(), &[]);
        assert_eq!(again.digest(), digest, "cut at {cut}: the daemon wrote another manifest");
        image.remove();
        bucket.run(&docker, "pull", &image.name(), &[]).line();
        assert!(docker.id(&image.name()).is_some());
    }
}

#[test]
fn a_damaged_layer_never_reaches_the_daemon() {
    let Some(docker) = Docker::get() else { return };
    let Bucket::Folder(folder) = Bucket::all().remove(0) else { unreachable!("the first one is a folder") };
    let (blobs, bucket) = (folder.path().join("demo/docker/registry/v2/blobs"), Bucket::Folder(folder));
    let image = LoadedImage::new(&docker, &[300_000]);
    bucket.run(&docker, "push", &image.name(), &[]).line();
    let layer = walk(&blobs).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&layer).unwrap();
    bytes[150_000] ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    image.remove();
    let ran = bucket.run(&docker, "pull", &image.name(), &[]);
    ran.failed(13, "damaged");
    assert_eq!(docker.id(&image.name()), None);
    assert_eq!(docker.temporary_names(&image.repository), [""; 0]);
}

#[test]
fn ctrl_c_while_pushing_leaves_the_old_tag_and_nothing_else() {
    let Some(docker) = Docker::get() else { return };
    // Each way, with what is said when it is under way.
    let ways = [("registry", "the registry accepts connections"), ("archive", "transport archive")];
    for (bucket, (transport, begun)) in Bucket::all().into_iter().flat_map(|bucket| {
        let bucket = std::rc::Rc::new(bucket);
        ways.map(|way| (std::rc::Rc::clone(&bucket), way))
    }) {
        let old = LoadedImage::new(&docker, &[1000]);
        let reference = format!("{}:v1", old.repository);
        let digest = bucket.run(&docker, "push", &reference, &[]).digest().to_owned();
        // Several seconds of the daemon's compression.
        let image = LoadedImage::new(&docker, &[100_000_000]);
        let mut command = bucket.command(&docker, "push", &reference);
        command
            .args(["-i", &image.name(), "-v", "--transport", transport])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains(begun) {
            let read = std::io::BufRead::read_line(&mut stderr, &mut said).unwrap();
            assert!(read > 0, "{said}");
        }
        signal(&child, "INT");
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
        assert!(said.contains("was interrupted"), "{said}");
        assert_eq!(docker.temporary_names(&old.repository), [""; 0], "{said}");
        if let Bucket::S3(s3) = &*bucket {
            assert_eq!(s3.unfinished_uploads(), "");
        }
        old.remove();
        assert_eq!(bucket.run(&docker, "pull", &reference, &[]).digest(), digest, "the tag moved");
        // And the push that was stopped succeeds when it is made again.
        assert_ne!(bucket.run(&docker, "push", &reference, &["-i", &image.name()]).digest(), digest);
    }
}
