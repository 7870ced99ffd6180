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

const FOLDER: [&str; 8] = ["bucket", "put", "get", "list", "multipart", "create", "clock", "delete"];

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
    let expected: Vec<_> = FOLDER.iter().map(|check| ((*check).to_owned(), "ok".to_owned())).collect();
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
    assert!(ran.stdout.contains(&format!("access key {} from AWS_ACCESS_KEY_ID", s3.access_key)), "{ran:#?}");
    assert!(ran.stdout.contains("unfinished uploads do not stay: MinIO removes them itself"), "{ran:#?}");
    assert!(!ran.stdout.contains(&s3.secret_key), "{ran:#?}");
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

/// Returns what was found of the credentials, and what to do.
fn credentials(ran: &Ran) -> (String, String) {
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:#?}"));
    let findings = document["findings"].as_array().expect("a list");
    let of_credentials = findings.iter().find(|finding| finding["check"] == "credentials").expect("they are told of");
    let text = |key: &str| of_credentials[key].as_str().unwrap_or_default().to_owned();
    (text("found"), text("action"))
}

/// Arguments, variables, and what is found of the credentials.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

#[test]
fn it_says_where_the_credentials_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let keyfile = folder.path().join("key.json");
    std::fs::write(&keyfile, r#"{"type": "authorized_user", "client_id": "1", "client_secret": "2"}"#).unwrap();
    let tool = folder.path().join("aws-tool");
    let keys = r#"{"Version": 1, "AccessKeyId": "AKIAPROCESS", "SecretAccessKey": "canary"}"#;
    std::fs::write(&tool, keys).unwrap();
    let profile = folder.path().join("config");
    let process = format!("credential_process = cat {}", tool.display());
    std::fs::write(
        &profile,
        format!(
            "[profile work]\naws_access_key_id = AKIAFILE\naws_secret_access_key = canary\n[profile tool]\n{process}\n"
        ),
    )
    .unwrap();
    let profile = profile.display().to_string();
    let on_nothing = ["--endpoint", "http://127.0.0.1:1/acct"];
    let cases: [Case<'_>; 9] = [
        (
            &["s3"],
            &[("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "canary")],
            "AKIAENV from AWS_ACCESS_KEY_ID",
        ),
        (&["s3", "--profile", "work"], &[("AWS_CONFIG_FILE", &profile)], "AKIAFILE from the profile"),
        (
            &["s3", "--profile", "tool"],
            &[("AWS_CONFIG_FILE", &profile)],
            "AKIAPROCESS from the profile's credential_process",
        ),
        (&["s3", "--no-sign-request"], &[], "none: requests are not signed"),
        (&["azure"], &[("AZURE_STORAGE_KEY", "Y2FuYXJ5")], "a key of account acct from AZURE_STORAGE_KEY"),
        (
            &["azure"],
            &[("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=canary")],
            "a shared access signature from AZURE_STORAGE_SAS_TOKEN",
        ),
        (
            &["azure"],
            &[(
                "AZURE_STORAGE_CONNECTION_STRING",
                "AccountName=acct;AccountKey=Y2FuYXJ5;BlobEndpoint=http://127.0.0.1:1/acct",
            )],
            "a key of account acct from the connection string",
        ),
        (&["azure", "--credential-type", "anonymous"], &[], "none: requests are not signed"),
        (&["gcs"], &[], "none: a plain http:// endpoint gets none"),
    ];
    for (arguments, variables, expected) in cases {
        let ran = doctor(|command| {
            command
                .args(arguments)
                .args(["doctor", "images", "--retries", "0"])
                .args(on_nothing)
                .envs(variables.iter().copied());
        });
        let (found, _) = credentials(&ran);
        assert!(found.contains(expected), "{found}");
        assert!(!ran.stdout.contains("canary") && !ran.stdout.contains("Y2FuYXJ5"), "{ran:#?}");
    }
}

#[test]
fn credentials_that_are_missing_are_told_with_what_to_do() {
    for (arguments, looked_at, action) in [
        (
            &["s3", "doctor", "b", "-r", "us-east-1"][..],
            "looked at, in this order: --access-key",
            "log in with `aws sso login`",
        ),
        (&["gcs", "doctor", "b"], "looked at, in this order: --keyfile", "gcloud auth application-default login"),
        (
            &["azure", "doctor", "b", "-a", "acct"],
            "looked at, in this order: --connection-string",
            "log in with `az login`",
        ),
    ] {
        let ran = doctor(|command| {
            command
                .args(arguments)
                .env("GCE_METADATA_HOST", "127.0.0.1:1")
                .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")
                .env("PATH", "/nonexistent");
        });
        assert!(matches!(ran.code, Some(12 | 14)), "{ran:#?}");
        let (found, to_do) = credentials(&ran);
        assert!(found.contains(looked_at) && to_do.contains(action), "{found}\n{to_do}");
    }
}
