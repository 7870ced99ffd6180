//! `doctor`, on what works and on what does not.

use std::process::Command;

use crate::places::walk;
use crate::support::docker::Docker;
use crate::support::run::{Ran, oci_store, run};
use crate::support::s3::S3;

fn findings(ran: &Ran) -> Vec<(String, String)> {
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:#?}"));
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().expect("text").to_owned();
    let findings = document["findings"].as_array().expect("a list");
    findings.iter().map(|finding| (text(finding, "check"), text(finding, "status"))).collect()
}

fn doctor(change: impl FnOnce(&mut Command)) -> Ran {
    let mut command = oci_store();
    command.args(["--format", "json", "-H", "unix:///nonexistent/docker.sock"]);
    change(&mut command);
    run(&mut command)
}

const BUCKET: [&str; 8] = ["bucket", "put", "get", "list", "multipart", "create", "clock", "delete"];

#[test]
fn a_folder_is_well_and_nothing_is_left_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let ran = doctor(|command| {
        command.args(["fs", "doctor", "demo/app:v1", "--dir"]).arg(folder.path());
    });
    // There is no daemon, which is told and decides the exit code.
    assert_eq!(ran.code, Some(15), "{ran:#?}");
    let found = findings(&ran);
    assert_eq!(found[0], ("docker".to_owned(), "failed".to_owned()));
    let expected: Vec<_> = BUCKET.iter().map(|check| ((*check).to_owned(), "ok".to_owned())).collect();
    assert_eq!(found[1..], expected);
    assert_eq!(walk(folder.path()), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn a_bucket_and_a_daemon_that_are_well_exit_with_zero() {
    let (Some(s3), Some(docker)) = (S3::get(), Docker::get()) else { return };
    let mut command = oci_store();
    s3.configure(docker.configure(&mut command));
    let ran = run(command.args(["s3", "doctor", &s3.bucket]));
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.stdout.contains("classic image store"), "{ran:#?}");
    assert!(ran.stdout.lines().all(|line| line.starts_with("ok ")), "{ran:#?}");
    assert_eq!(s3.unfinished_uploads(), "");
}

#[test]
fn what_is_missing_is_told_with_the_action_that_mends_it() {
    let Some(s3) = S3::get() else { return };
    let ran = doctor(|command| {
        s3.configure(command).args(["s3", "doctor", "no-such-bucket"]);
    });
    assert_eq!(ran.code, Some(10), "{ran:#?}");
    assert!(ran.stdout.contains("create it"), "{ran:#?}");
    let ran = doctor(|command| {
        s3.configure(command).env("AWS_SECRET_ACCESS_KEY", "wrong-canary").args(["s3", "doctor", &s3.bucket]);
    });
    assert_eq!(ran.code, Some(12), "{ran:#?}");
    assert!(!ran.stdout.contains("wrong-canary") && !ran.stderr.contains("wrong-canary"), "{ran:#?}");
}
