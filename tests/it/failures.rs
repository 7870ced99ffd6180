//! Stores and daemons that fail half-way, full disks, wrong credentials.

use std::path::Path;
use std::process::Command;

use crate::support::docker::{Docker, LoadedImage};
use crate::support::image::docker_save;
use crate::support::proxy::Proxy;
use crate::support::run::{Ran, oci_store, run};
use crate::support::s3::S3;
use crate::support::skipped;

fn archive(folder: &Path, seed: &str, length: usize) -> String {
    let file = folder.join(format!("{seed}.tar"));
    std::fs::write(&file, docker_save("app:1", seed, &[length])).expect("a file can be written");
    format!("docker-archive:{}", file.display())
}

fn push(s3: &S3, image: &str, change: impl FnOnce(&mut Command)) -> Ran {
    let mut command = oci_store();
    s3.configure(&mut command).args(["s3", "push", &format!("{}/app:v1", s3.bucket), "-i", image]);
    change(&mut command);
    run(&mut command)
}

fn pull_digest(s3: &S3, folder: &Path) -> String {
    let mut command = oci_store();
    s3.configure(&mut command).args(["s3", "pull", &format!("{}/app:v1", s3.bucket), "-i"]);
    run(command.arg(format!("oci:{}", folder.join("out").display()))).digest().to_owned()
}

#[test]
fn a_store_that_goes_away_while_an_archive_is_pushed_leaves_the_old_tag() {
    let Some(s3) = S3::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    let old = push(&s3, &archive(folder.path(), "old", 1000), |_| {}).digest().to_owned();
    let proxy = Proxy::new(s3.port(), 12_000_000);
    let new = archive(folder.path(), "new", 40_000_000);
    let ran = push(&s3, &new, |command| {
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", proxy.port)).args(["--retries", "1"]);
    });
    assert!(proxy.is_broken());
    ran.failed(14, "hint:");
    assert_eq!(pull_digest(&s3, folder.path()), old);
    assert_ne!(push(&s3, &new, |_| {}).digest(), old);
}

#[test]
fn a_store_that_goes_away_while_the_daemon_pushes_is_named_as_the_cause() {
    let (Some(s3), Some(docker)) = (S3::get(), Docker::get()) else { return };
    let image = LoadedImage::new(&docker, &[40_000_000]);
    let proxy = Proxy::new(s3.port(), 12_000_000);
    let mut command = oci_store();
    s3.configure(docker.configure(&mut command)).env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", proxy.port));
    let ran = run(command.args(["s3", "push", &format!("{}/{}", s3.bucket, image.name()), "--retries", "1"]));
    assert!(proxy.is_broken());
    ran.failed(14, "blobs/sha256");
    assert_eq!(docker.temporary_names(&image.repository), [""; 0]);
    let mut command = oci_store();
    s3.configure(docker.configure(&mut command));
    run(command.args(["s3", "push", &format!("{}/{}", s3.bucket, image.name())])).line();
}

#[test]
fn a_daemon_that_goes_away_leaves_no_tag() {
    let (Some(docker), folder) = (Docker::get(), tempfile::tempdir().unwrap()) else { return };
    let image = LoadedImage::new(&docker, &[30_000_000]);
    // Its API is cut as soon as the push was asked for.
    let socket = docker.host.strip_prefix("unix://").expect("the test daemon has a socket").to_owned();
    let (cut, path) = (folder.path().join("docker.sock"), socket);
    let listener = std::os::unix::net::UnixListener::bind(&cut).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(daemon)) = (client, std::os::unix::net::UnixStream::connect(&path)) else { return };
            let (client_reader, mut daemon_writer) = (client.try_clone().unwrap(), daemon.try_clone().unwrap());
            std::thread::spawn(move || pass_until_push(client_reader, &mut daemon_writer));
            std::thread::spawn(move || drop(std::io::copy(&mut &daemon, &mut &client)));
        }
    });
    let mut command = oci_store();
    command.args(["fs", "push", &format!("demo/{}", image.name()), "--dir"]).arg(folder.path());
    let ran = run(command.arg("-H").arg(format!("unix://{}", cut.display())));
    ran.failed(15, "daemon");
    assert!(
        !folder
            .path()
            .join("demo/docker/registry/v2/repositories")
            .join(&image.repository)
            .join("_manifests/tags")
            .exists()
    );
    // The name that the daemon still has cannot be taken away without it; the test does.
    for name in docker.temporary_names(&image.repository) {
        docker.run(&["image", "rm", name.split('@').next().unwrap()]);
    }
}

fn pass_until_push(mut client: std::os::unix::net::UnixStream, daemon: &mut std::os::unix::net::UnixStream) {
    use std::io::{Read, Write};
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        if buffer[..length].windows(6).any(|window| window == b"/push?") || daemon.write_all(&buffer[..length]).is_err()
        {
            break;
        }
    }
    drop(client.shutdown(std::net::Shutdown::Both));
    drop(daemon.shutdown(std::net::Shutdown::Both));
}

#[test]
fn wrong_credentials_exit_with_twelve_and_a_missing_bucket_with_ten() {
    let Some(s3) = S3::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = archive(folder.path(), "small", 100);
    let secret = "wrong-secret-canary";
    let ran = push(&s3, &image, |command| {
        command.env("AWS_SECRET_ACCESS_KEY", secret);
    });
    ran.failed(12, "SignatureDoesNotMatch");
    assert!(!ran.stderr.contains(secret), "{ran:#?}");
    let ran = push(&s3, &image, |command| {
        command.env("AWS_ACCESS_KEY_ID", "nobody");
    });
    ran.failed(12, "InvalidAccessKeyId");
    let ran = push(&s3, &image, |command| {
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    });
    ran.failed(12, "AWS_ACCESS_KEY_ID");
    let mut command = oci_store();
    s3.configure(&mut command);
    run(command.args(["s3", "push", "no-such-bucket/app:v1", "-i", &image])).failed(10, "no-such-bucket");
}

/// A file system of its own that is soon full.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts one of so many bytes, or returns `None` where the test may not mount.
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                assert!(
                    !std::env::var("OCI_STORE_REQUIRE").unwrap_or_default().contains("docker"),
                    "cannot mount: {other:?}"
                );
                skipped("this test mounts a small file system, which takes root");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.0.path()).output());
    }
}

#[test]
fn a_full_disk_exits_with_sixteen_and_leaves_room() {
    let Some(disk) = SmallDisk::new("4m") else { return };
    let folder = tempfile::tempdir().unwrap();
    let push =
        |image: &str, flags: &[&str]| run(oci_store().args(["fs", "push", "demo/app:v1", "-i", image]).args(flags));
    let small = archive(folder.path(), "small", 100_000);
    let large = archive(folder.path(), "large", 8_000_000);
    let mount = disk.0.path().display().to_string();
    // The bucket's disk.
    let old = push(&small, &["--dir", &mount]).digest().to_owned();
    push(&large, &["--dir", &mount]).failed(16, "No space left");
    assert_eq!(push(&small, &["--dir", &mount]).digest(), old, "what failed left the disk full");
    let total: u64 = crate::places::walk(disk.0.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(total < 200_000, "{total} bytes are left");
    // The spool's disk.
    let bucket = folder.path().join("bucket").display().to_string();
    std::fs::create_dir(&bucket).unwrap();
    push(&large, &["--dir", &bucket, "--spool-dir", &mount]).failed(16, "No space left");
    // The disk that is pulled to.
    push(&large, &["--dir", &bucket]).line();
    for place in ["docker-archive", "oci-archive"] {
        let file = disk.0.path().join("out.tar");
        let ran = run(oci_store().args([
            "fs",
            "pull",
            "demo/app:v1",
            "--dir",
            &bucket,
            "-i",
            &format!("{place}:{}", file.display()),
        ]));
        ran.failed(16, "No space left");
        assert!(!file.exists());
    }
}

#[test]
fn a_full_spool_disk_is_named_while_the_daemon_pushes() {
    let (Some(docker), Some(disk)) = (Docker::get(), SmallDisk::new("4m")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = LoadedImage::new(&docker, &[10_000_000]);
    let mut command = oci_store();
    docker.configure(&mut command).args(["fs", "push", &format!("demo/{}", image.name()), "--dir"]).arg(folder.path());
    let ran = run(command.arg("--spool-dir").arg(disk.0.path()));
    ran.failed(16, "spool");
    assert_eq!(docker.temporary_names(&image.repository), [""; 0]);
}

#[test]
fn symlinks_in_a_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = archive(folder.path(), "small", 100);
    let push = || run(oci_store().args(["fs", "push", "demo/app:v1", "-i", &image, "--dir"]).arg(folder.path()));
    push().line();
    std::fs::write(folder.path().join("secret"), "canary").unwrap();
    let link = folder.path().join("demo/docker/registry/v2/repositories/app/_manifests/tags/v1/current/link");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), &link).unwrap();
    let ran = run(oci_store()
        .args(["fs", "pull", "demo/app:v1", "-i", "oci:o", "--dir"])
        .arg(folder.path())
        .current_dir(folder.path()));
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("is a symbolic link") && !ran.stderr.contains("canary"), "{ran:#?}");
    assert_ne!(push().code, Some(0));
    assert_eq!(std::fs::read(folder.path().join("secret")).unwrap(), b"canary");
}
