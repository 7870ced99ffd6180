//! The command lines of the tools that this one takes the place of, in the form that the README's table gives them.
//!
//! `HOST` and `docker.io` stand for a registry of the test; everything else runs as it is written.

use std::fs;

use crate::copy::World;
use crate::readme::examples;
use crate::remote::{PASSWORD, guarded};
use crate::support::image::oci_index;
use crate::support::run::run;

/// The heading of the README's table.
const HEADING: &str = "## Coming from ocitool, ocidist, oras, oras-py, skopeo, crane";

/// The rows of the table that are no command lines.
const WORDS: [(&str, &str); 3] = [
    ("`ocidist … --anonymous`, `--username user --password pass`, `--proxy url`", "the same"),
    ("`ocidist … --http`", "not needed"),
    (
        "`oras login`, `oras-py login`, `docker login` with `-u`, `-p`, `--password-stdin`",
        "`oci-store login HOST` with the same",
    ),
];

/// Returns the command lines of the table's right column. Nothing else may be there but what [`WORDS`] has.
fn table() -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README is there");
    let (_, after) = readme.split_once(HEADING).expect("the README has the table");
    let (section, _) = after.split_once("\n## ").expect("another section follows");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let line = |here: &str| here.strip_prefix("`oci-store ")?.strip_suffix('`').map(str::to_owned);
    let (lines, words): (Vec<_>, Vec<_>) = rows.skip(1).partition(|(_, here)| line(here).is_some());
    assert_eq!(words, WORDS);
    lines.into_iter().filter_map(|(_, here)| line(here)).collect()
}

/// What is there before the first line runs.
fn populated() -> Option<World> {
    let world = World::new()?;
    let index = oci_index("app:v1", "seeds", &["amd64", "arm64"]);
    fs::write(world.path().join("index.tar"), &index.archive).expect("a file can be written");
    fs::create_dir(world.path().join("build")).expect("a folder can be made");
    for file in ["file1.txt", "file2.conf", "artifact.txt", "sbom.json", "build/foo.txt", "build/config.json"] {
        fs::write(world.path().join(file), "{}").expect("a file can be written");
    }
    for name in ["library/alpine:3.10", "ocitest:0.0.1", "app:v1"] {
        world.run(&format!("copy oci-archive:index.tar {}", world.registry(name))).line();
    }
    Some(world)
}

#[test]
fn every_command_of_the_readmes_table_works() {
    let Some(world) = populated() else { return };
    let lines = table();
    assert!(lines.len() > 15, "the table was not found: {lines:?}");
    for line in lines {
        let here = world.path().join("foo.tar").display().to_string();
        let local = line.replace("HOST", &world.registry.address).replace("docker.io", &world.registry.address);
        let ran = world.run(&local.replace("/tmp/foo.tar", &here));
        assert!(ran.code == Some(0) && !ran.stdout.is_empty(), "{line}: {ran:#?}");
    }
}

/// What [`WORDS`] says; `remote::login` has all ways to log in.
#[test]
fn what_the_readmes_table_says_in_words_holds() {
    let (Some(world), Some((guarded, home))) = (populated(), guarded()) else { return };
    let (host, closed) = (&world.registry.address, &guarded.address);
    let run = |line: &str| {
        let mut command = world.command();
        run(command.env_remove("OCI_STORE_PLAIN_HTTP").env("HOME", home.path()).args(line.split(' ')))
    };
    let push = format!(
        "artifact push {closed}/ocitest:0.0.1 --config ./build/config.json:application/vnd.docker.volume.v1+tar.gz \
         ./build/foo.txt:text/plain"
    );
    run(&push).failed(12, "the registry answered 401");
    run(&format!("{push} --username me --password {PASSWORD}")).line();
    for verb in ["tags HOST/ocitest", "manifest HOST/ocitest:0.0.1", "artifact pull -o ./pulled HOST/ocitest:0.0.1"] {
        let line = verb.replace("HOST", closed);
        run(&format!("{line} --anonymous")).failed(12, "UNAUTHORIZED");
        assert_eq!(run(&format!("{line} --username me --password {PASSWORD}")).code, Some(0), "{line}");
    }
    // Docker's registry answers what a proxy is asked for too, and so it is one.
    let far = "registry.invalid/library/alpine";
    assert_eq!(run(&format!("tags {far} --plain-http --proxy http://{host}")).stdout, "3.10\n");
    run(&format!("pull {far}:3.10 --path far.tar --plain-http --proxy http://{host}")).line();
    run(&format!("login {closed} -u me -p {PASSWORD}")).line();
    run(&push).line();
    run(&format!("logout {closed}")).line();
    run(&push).failed(12, "the registry answered 401");
}

#[test]
fn the_readmes_examples_of_copies_and_lists_work() {
    let Some(world) = populated() else { return };
    let app = world.bucket("app:v1");
    world.run(&format!("copy oci-archive:index.tar {app}")).line();
    let manifest = world.run(&format!("manifest {app}")).stdout;
    fs::write(world.path().join("manifest.json"), manifest).expect("a file can be written");
    let layer =
        world.json(&format!("manifest {app} --platform linux/arm64"))["manifest"]["layers"][0]["digest"].clone();
    for line in examples("Copies, lists, documents") {
        let local = line
            .replace("s3://images", world.bucket("").trim_end_matches('/'))
            .replace("s3://other", &world.bucket("other"))
            .replace("sha256:…", layer.as_str().expect("a digest"))
            .replace("registry.example", &world.registry.address)
            .replace("docker.io", &world.registry.address);
        let ran = world.run(local.split_once(' ').expect("it has arguments").1);
        assert_eq!(ran.code, Some(0), "{line}: {ran:#?}");
    }
}

#[test]
fn ocidists_rules_for_references_hold() {
    let Some(world) = populated() else { return };
    let alpine = format!("{}/library/alpine", world.registry.address);
    let shown = world.run(&format!("manifest {alpine}:3.10"));
    let (_, digest) = shown.stderr.trim().split_once(' ').expect("a digest on stderr");
    // Tag, digest or both, but one of them; and neither where tags are listed.
    for reference in [format!("{alpine}:3.10@{digest}"), format!("{alpine}:3.10"), format!("{alpine}@{digest}")] {
        assert_eq!(world.run(&format!("manifest {reference}")).stdout, shown.stdout);
        world.run(&format!("pull {reference} --path foo.tar")).line();
        world.run(&format!("tags {reference}")).failed(2, &format!("write docker://{alpine}"));
    }
    for line in [format!("manifest {alpine}"), format!("pull {alpine} --path foo.tar")] {
        world.run(&line).failed(2, "names neither a tag nor a digest");
    }
    assert_eq!(world.run(&format!("tags {alpine}")).stdout, "3.10\n");
    assert_eq!(world.run(&format!("tags {alpine} --anonymous")).stdout, "3.10\n");
    for reference in ["alpine:3.10", "library/alpine:3.10"] {
        world.run(&format!("manifest {reference}")).failed(2, "write HOST/NAME:TAG");
    }
}

#[test]
fn ocidists_pull_makes_a_file_for_docker_load_and_shows_both_digests() {
    let Some(world) = populated() else { return };
    let alpine = format!("{}/library/alpine:3.10", world.registry.address);
    let resolved = world.json(&format!("manifest {alpine} --resolve --platform linux/amd64"));
    let pulled = world.run(&format!("pull {alpine} --path foo.tar --platform linux/amd64"));
    assert_eq!(pulled.digest(), resolved["resolved"]["digest"]);
    for digest in [&resolved["digest"], &resolved["resolved"]["digest"]] {
        assert!(pulled.stderr.contains(digest.as_str().unwrap()), "{pulled:#?}");
    }
    assert_eq!(world.loaded("foo.tar"), format!("Loaded image: {alpine}"));
    world.run(&format!("pull {alpine} --path none.tar --platform linux/s390x")).failed(10, "linux/amd64, linux/arm64");
    assert!(!world.path().join("none.tar").exists());
}
