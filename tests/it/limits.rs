//! What the release binary must not exceed.

use std::process::Command;

use crate::support::docker::{Docker, LoadedImage};
use crate::support::image::docker_save;
use crate::support::s3::S3;

/// The release binary, where the caller built one.
fn release() -> Option<String> {
    std::env::var("OCI_STORE_TEST_RELEASE_BIN").ok()
}

#[test]
fn the_binary_is_smaller_than_25_mb() {
    let Some(binary) = release() else { return };
    let size = std::fs::metadata(binary).unwrap().len();
    assert!(size < 25_000_000, "{size} bytes");
}

/// Runs the release binary and returns its peak memory in MiB.
fn peak(command: &mut Command) -> u64 {
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-f", "peak %M"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    let output = timed.output().expect("GNU time is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let kib = stderr.lines().find_map(|line| line.strip_prefix("peak ")).expect("GNU time prints it");
    kib.parse::<u64>().expect("a number") / 1024
}

#[test]
fn memory_does_not_grow_with_the_image() {
    let (Some(binary), Some(s3)) = (release(), S3::get()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("app.tar");
    std::fs::write(&file, docker_save("app:1", "memory", &[300_000_000])).unwrap();
    let command = |verb: &str, place: String| {
        let mut command = Command::new(&binary);
        s3.configure(&mut command).args(["s3", verb, &format!("{}/app:v1", s3.bucket), "-q", "-i", &place]);
        command
    };
    let pushed = peak(&mut command("push", format!("docker-archive:{}", file.display())));
    assert!(pushed < 100, "push took {pushed} MiB");
    // The same out of a daemon, compressed while it is saved. Compressors take more at levels above the default.
    if let Some(docker) = Docker::get() {
        let image = LoadedImage::new(&docker, &[300_000_000]);
        for flags in [["--compression", "gzip"], ["--compression", "zstd"]] {
            let mut push = command("push", image.name());
            let pushed = peak(docker.configure(&mut push).args(flags));
            assert!(pushed < 128, "push with {flags:?} took {pushed} MiB");
        }
    }
    let pulled = peak(&mut command("pull", format!("oci-archive:{}", folder.path().join("back.tar").display())));
    assert!(pulled < 100, "pull took {pulled} MiB");
}
