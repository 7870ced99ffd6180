//! The command line, as scripts and people see it, with a folder as the bucket.

use std::fs;
use std::path::Path;

use crate::support::image::docker_save;
use crate::support::run::{Ran, in_folder, oci_store, run};

fn hello() -> String {
    format!("docker-archive:{}/examples/hello.tar", env!("CARGO_MANIFEST_DIR"))
}

fn push_hello(folder: &Path) -> Ran {
    in_folder(folder, &format!("fs push demo/hello:v1 -i {}", hello()))
}

#[test]
fn the_readmes_first_command_works() {
    let folder = tempfile::tempdir().unwrap();
    let pushed = push_hello(folder.path());
    assert!(pushed.line().starts_with("fs://demo/hello:v1@sha256:"), "{pushed:#?}");
    assert!(pushed.stderr.contains("pushed: "), "{pushed:#?}");
    let pulled = in_folder(folder.path(), "fs pull demo/hello:v1 -i docker-archive:hello-back.tar");
    assert_eq!(pulled.line(), pushed.line());
    assert!(folder.path().join("hello-back.tar").is_file());
}

#[test]
fn the_same_push_again_sends_nothing_and_gives_the_same_digest() {
    let folder = tempfile::tempdir().unwrap();
    let first = push_hello(folder.path());
    let again = push_hello(folder.path());
    assert_eq!(again.line(), first.line());
    assert!(again.stderr.contains("pushed: 0 B sent"), "{again:#?}");
}

#[test]
fn both_forms_of_the_grammar_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let first = push_hello(folder.path());
    for line in [
        format!("push fs://demo/hello:v1 -i {}", hello()),
        format!("push fs://demo/hello:v1 -i {} --dir .", hello()),
        format!("fs --dir . push demo/hello:v1 --image {}", hello()),
        format!("fs push fs://demo/hello:v1 -i {}", hello()),
    ] {
        assert_eq!(in_folder(folder.path(), &line).line(), first.line(), "{line}");
    }
}

#[test]
fn flags_have_environment_variables() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = oci_store();
    command.args(["push", "fs://demo/hello:v1"]).env("OCI_STORE_DIR", folder.path()).env("OCI_STORE_IMAGE", hello());
    let pushed = run(command
        .env("OCI_STORE_FORMAT", "json")
        .env("OCI_STORE_QUIET", "1")
        .env("OCI_STORE_ROOT_DIR", "below/here"));
    assert!(pushed.line().starts_with('{'), "{pushed:#?}");
    assert_eq!(pushed.stderr, "");
    assert!(folder.path().join("demo/below/here/docker/registry/v2/blobs").is_dir());
}

#[test]
fn json_is_one_document_with_every_blob() {
    let folder = tempfile::tempdir().unwrap();
    let pushed =
        in_folder(folder.path(), &format!("fs push demo/hello:v1 -i {} --format json --digestfile d", hello()));
    let document: serde_json::Value = serde_json::from_str(pushed.line()).unwrap();
    assert_eq!(document["reference"], "fs://demo/hello:v1");
    assert_eq!(document["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(document["transport"], "archive");
    let blobs = document["blobs"].as_array().unwrap();
    assert_eq!(blobs.len(), 2);
    assert!(blobs.iter().all(|blob| blob["status"] == "sent"), "{document}");
    let sum: u64 = blobs.iter().map(|blob| blob["size"].as_u64().unwrap()).sum();
    assert_eq!(document["bytesSent"], sum);
    assert!(document["seconds"].is_number() && document["size"].is_number());
    let digest = fs::read_to_string(folder.path().join("d")).unwrap();
    assert_eq!(digest.trim(), document["digest"].as_str().unwrap());
    let again = in_folder(folder.path(), &format!("fs push demo/hello:v1 -i {} --format json", hello()));
    let document: serde_json::Value = serde_json::from_str(again.line()).unwrap();
    assert!(document["blobs"].as_array().unwrap().iter().all(|blob| blob["status"] == "exists"), "{document}");
    assert_eq!(document["bytesSent"], 0);
}

#[test]
fn an_image_is_pulled_by_digest() {
    let folder = tempfile::tempdir().unwrap();
    let digest = push_hello(folder.path()).digest().to_owned();
    let pulled = in_folder(folder.path(), &format!("fs pull demo/hello@{digest} -i oci:layout"));
    assert_eq!(pulled.line(), format!("fs://demo/hello@{digest}"));
    let both = in_folder(folder.path(), &format!("fs pull demo/hello:other@{digest} -i oci:layout"));
    assert_eq!(both.line(), format!("fs://demo/hello:other@{digest}"));
}

/// What is wrong, the exit code and what the message says.
#[test]
fn bad_input_gets_a_clear_error_and_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    push_hello(folder.path());
    let image = format!("-i {}", hello());
    let digest = format!("sha256:{}", "0".repeat(64));
    for (line, code, says) in [
        (format!("fs push app:v1 {image}"), 2, "names no bucket"),
        (format!("fs push demo/App:v1 {image}"), 2, "upper-case"),
        (format!("fs push demo/app:v1:v2 {image}"), 2, "tag"),
        (format!("fs push demo/../../etc:v1 {image}"), 2, "name"),
        (format!("fs push ../demo/app:v1 {image}"), 2, "bucket"),
        (format!("fs push demo/app@{digest} {image}"), 2, "names a digest"),
        (format!("push demo/app:v1 {image}"), 2, "scheme"),
        (format!("push ftp://demo/app:v1 {image}"), 2, "scheme"),
        (format!("fs push s3://demo/app:v1 {image}"), 2, "is of s3"),
        ("fs push demo/app:v1 -i s3://demo/app".to_owned(), 2, "no local place"),
        ("fs push demo/app:v1 -i docker-archive:".to_owned(), 2, "file"),
        ("fs push demo/app:v1 -i docker-archive:missing.tar".to_owned(), 10, "missing.tar"),
        ("fs push demo/app:v1 -i oci:missing".to_owned(), 10, "missing"),
        (format!("fs push demo/app:v1 {image} --platform linux/arm64"), 10, "linux/amd64"),
        (format!("fs push demo/app:v1 {image} --dir /nonexistent"), 10, "/nonexistent"),
        ("fs pull nobucket/app:v1 -i oci:o".to_owned(), 10, "nobucket"),
        ("fs pull demo/other:v1 -i oci:o".to_owned(), 10, "no tag v1"),
        ("fs pull demo/hello:v2 -i oci:o".to_owned(), 10, "no tag v2"),
        (format!("fs pull demo/hello@{digest} -i oci:o"), 10, &digest),
        (format!("fs pull demo/hello@{digest}"), 2, "names no tag to give"),
        ("fs pull demo/hello:v1 -i docker-archive:/nonexistent/a".to_owned(), 10, "/nonexistent"),
        ("fs serve demo --listen 0.0.0.0:0".to_owned(), 2, "no loopback address"),
        ("fs serve nobucket --read-only".to_owned(), 10, "nobucket"),
        ("fs serve ../demo".to_owned(), 2, "bucket"),
    ] {
        let ran = in_folder(folder.path(), &line);
        println!("{line}\n{}", ran.stderr);
        ran.failed(code, says);
        assert!(!folder.path().join("o").exists(), "{line} left something");
    }
    // What failed left nothing of itself in the bucket.
    let names: Vec<_> = fs::read_dir(folder.path().join("demo/docker/registry/v2/repositories")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_command_line_that_clap_refuses_exits_with_two() {
    for line in [
        "",
        "fs",
        "fs push",
        "fs push a/b --nope",
        "fs push a/b --jobs 0",
        "fs push a/b --platform x",
        "s3 push a/b --dir d",
    ] {
        let ran = run(oci_store().args(line.split_whitespace()));
        assert_eq!(ran.code, Some(2), "{line}: {ran:#?}");
    }
}

#[test]
fn a_daemon_that_is_not_there_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    push_hello(folder.path());
    for line in ["fs push demo/app:v1", "fs pull demo/hello:v1"] {
        let ran = run(oci_store()
            .current_dir(folder.path())
            .args(line.split(' '))
            .args(["-H", "unix:///nonexistent/docker.sock"]));
        ran.failed(15, "/nonexistent/docker.sock");
        assert!(ran.stderr.contains("hint: start Docker"), "{ran:#?}");
    }
    let ran = in_folder(folder.path(), "fs push demo/app:v1 -H nonsense://x");
    assert_eq!(ran.code, Some(2), "{ran:#?}");
}

#[test]
fn secrets_are_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let canary = "CANARY0123456789";
    let azure = format!("azure push b/app:v1 -i {} --endpoint http://127.0.0.1:1/acct --retries 0 -vvv", hello());
    let lines = [
        format!("{azure} --account-key {canary}"),
        format!("{azure} --account-name acct --sas-token sv=1&sig={canary}"),
        format!("{azure} --connection-string AccountName=a;AccountKey={canary};BlobEndpoint=http://127.0.0.1:1/a"),
        azure,
        "azure push --help".to_owned(),
        "s3 push --help".to_owned(),
        "push --help".to_owned(),
        format!("s3 push b/app:v1 -i {} --endpoint http://127.0.0.1:1 --retries 0 -vvv", hello()),
        format!("s3 pull b/app:v1 -i oci:o --endpoint http://127.0.0.1:1 --retries 0 -vvv --secret-key {canary}"),
        format!("s3 push b/app:v1 -i {} --endpoint not-an-address -vvv", hello()),
        format!(
            "s3 push b/app:v1 -i {} --endpoint http://127.0.0.1:1 --proxy http://u:{canary}@127.0.0.1:1 --retries 0 -vvv",
            hello()
        ),
    ];
    for line in lines {
        let mut command = oci_store();
        command.current_dir(folder.path()).args(line.split(' '));
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "OCI_STORE_SECRET_KEY",
            "AZURE_STORAGE_KEY",
            "AZURE_CLIENT_SECRET",
            "AZURE_STORAGE_CONNECTION_STRING",
        ] {
            command.env(name, canary);
        }
        let ran = run(command.env("AWS_ACCESS_KEY_ID", "id"));
        assert!(!ran.stderr.contains(canary) && !ran.stdout.contains(canary), "{line}: {ran:#?}");
    }
}

#[test]
fn an_endpoint_that_does_not_answer_exits_with_fourteen() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = oci_store();
    command.current_dir(folder.path()).env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "key");
    let ran = run(command.args(["s3", "push", "b/app:v1", "-i", &hello(), "--endpoint", "http://127.0.0.1:1"]));
    ran.failed(14, "127.0.0.1:1");
}

#[test]
fn completions_are_printed() {
    let completions = run(oci_store().args(["completions", "bash"]));
    assert!(completions.code == Some(0) && completions.stdout.contains("complete -F _oci__store"), "{completions:#?}");
}

#[test]
fn every_verb_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let page = |name: &str| fs::read_to_string(folder.path().join("man").join(name)).expect(name);
    let ran = in_folder(folder.path(), "man --dir man");
    assert!(ran.code == Some(0) && ran.stdout.is_empty(), "{ran:#?}");
    for (line, name, holds) in [
        ("man", "oci-store", "oci\\-store\\-artifact(1)"),
        ("man push", "oci-store-push", "\\-\\-digestfile"),
        ("man s3 push", "oci-store-s3-push", "\\-\\-region"),
        ("man artifact push", "oci-store-artifact-push", "\\-\\-artifact\\-type"),
    ] {
        let printed = in_folder(folder.path(), line).stdout;
        assert!(printed.contains(&format!(".TH {name} 1 ")) && printed.contains(holds), "{line}: {printed}");
        assert_eq!(printed, page(&format!("{name}.1")), "{line}");
    }
    in_folder(folder.path(), "man artifact fly").failed(2, "it has push, pull, attach, discover");
    in_folder(folder.path(), "man push fly").failed(2, "there is no verb \"fly\" of oci-store push");
    fs::write(folder.path().join("file"), "").unwrap();
    in_folder(folder.path(), "man --dir file").failed(11, "cannot write pages into file");
    let pages = fs::read_dir(folder.path().join("man")).unwrap();
    assert!(pages.map(|page| page.unwrap().file_name()).all(|name| !name.to_str().unwrap().contains("help")));
}

#[test]
fn a_reader_who_goes_away_is_no_failure() {
    let status = std::process::Command::new("sh")
        .args(["-c", "\"$0\" man | true"])
        .arg(env!("CARGO_BIN_EXE_oci-store"))
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn layers_that_two_images_share_are_sent_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.tar"), docker_save("a:1", "same", &[50_000, 60_000])).unwrap();
    fs::write(folder.path().join("b.tar"), docker_save("b:1", "same", &[50_000, 60_000, 70_000])).unwrap();
    in_folder(folder.path(), "fs push demo/a:1 -i docker-archive:a.tar").line();
    let pushed = in_folder(folder.path(), "fs push demo/team/b:1 -i docker-archive:b.tar --format json");
    let document: serde_json::Value = serde_json::from_str(pushed.line()).unwrap();
    let statuses: Vec<_> =
        document["blobs"].as_array().unwrap().iter().map(|blob| blob["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["sent", "exists", "exists", "sent"], "config, two old layers, a new one: {document}");
}

#[test]
fn help_is_as_it_was_written() {
    for (name, line) in [
        ("top", "-h"),
        ("s3-push", "s3 push -h"),
        ("gcs-push", "gcs push -h"),
        ("azure-pull", "azure pull -h"),
        ("fs-pull", "fs pull -h"),
        ("fs-serve", "fs serve -h"),
    ] {
        let help = run(oci_store().args(line.split(' ')));
        assert_eq!(help.code, Some(0), "{help:#?}");
        insta::assert_snapshot!(name, help.stdout);
    }
}

#[test]
fn errors_are_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    push_hello(folder.path());
    for (name, line) in [
        ("no-bucket", format!("fs push app:v1 -i {}", hello())),
        ("no-tag", "fs pull demo/hello:v2 -i oci:o".to_owned()),
        ("no-platform", format!("fs push demo/app:v1 -i {} --platform linux/arm64", hello())),
        ("no-file", "fs push demo/app:v1 -i docker-archive:missing.tar".to_owned()),
        ("no-daemon", "fs push demo/app:v1 -H unix:///nonexistent/docker.sock".to_owned()),
        ("not-loopback", "fs serve demo --listen 0.0.0.0:5000".to_owned()),
    ] {
        let ran = in_folder(folder.path(), &line);
        insta::assert_snapshot!(name, ran.stderr.replace(env!("CARGO_MANIFEST_DIR"), "…"));
    }
}
