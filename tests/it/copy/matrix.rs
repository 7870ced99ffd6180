//! Every pair of places: what comes out is what went in, byte for byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::World;
use crate::places::walk;
use crate::support::image::oci_index;
use crate::support::service;

/// What a place can hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Images and indexes, byte for byte.
    All,
    /// One image, byte for byte.
    Image,
    /// One image, whose manifest is made anew whenever it is read.
    Content,
}

/// Returns every kind of place under a name of its own, and what it holds.
fn places(world: &World, name: &str, daemon: &str) -> Vec<(String, Holds)> {
    vec![
        (format!("fs://bucket/{name}:v1"), Holds::All),
        (format!("{}:v1", world.bucket(name)), Holds::All),
        (format!("{}:v1", world.registry(name)), Holds::All),
        (format!("oci:{name}.layout:v1"), Holds::All),
        (format!("oci-archive:{name}.oci.tar:v1"), Holds::All),
        (format!("docker-archive:{name}.tar:app:v1"), Holds::Image),
        (format!("docker-daemon:{daemon}"), Holds::Content),
    ]
}

#[test]
fn an_image_is_the_same_after_a_copy_from_any_place_to_any_other() {
    let Some(world) = World::new() else { return };
    let daemon = world.daemon_image();
    let image = world.image(&[1000, 0, 300_000]);
    let config = world.run(&format!("config {image}")).stdout;
    let sources = places(&world, "from", &daemon.name());
    let mut digest = String::new();
    for (source, _) in &sources {
        let copied = world.run(&format!("copy {image} {source}"));
        copied.digest().clone_into(&mut digest);
        assert!(copied.line().starts_with(source), "{copied:#?}");
    }
    for (row, (source, holds)) in sources.iter().enumerate() {
        let other = world.daemon_image();
        for (target, _) in places(&world, &format!("to{row}"), &other.name()) {
            let copied = world.run(&format!("copy {source} {target}"));
            copied.line();
            // A daemon's own compression may give other bytes; what is in them is the same.
            assert_eq!(world.run(&format!("config {target}")).stdout, config, "{source} {target}");
            if *holds != Holds::Content {
                assert_eq!(copied.digest(), digest, "{source} {target}");
            }
            if *holds != Holds::Content && !target.starts_with("docker-daemon:") {
                let (there, here) =
                    (world.run(&format!("manifest {target}")), world.run(&format!("manifest {source}")));
                assert_eq!(there.stdout, here.stdout, "{source} {target}");
                assert!(there.stderr.contains(&digest), "{there:#?}");
            }
        }
    }
}

#[test]
fn an_index_is_copied_whole_and_one_platform_of_it_where_only_one_fits() {
    let Some(world) = World::new() else { return };
    let index = oci_index("app:v1", "matrix", &["amd64", "arm64"]);
    std::fs::write(world.path().join("index.tar"), &index.archive).unwrap();
    let daemon = world.daemon_image();
    for (target, holds) in places(&world, "whole", &daemon.name()) {
        let whole = world.run(&format!("copy oci-archive:index.tar {target}"));
        if holds == Holds::All {
            assert_eq!(whole.digest(), index.digest, "{target}");
            let shown = world.json(&format!("inspect {target}"));
            assert_eq!(super::digests(&shown["images"]), index.images, "{shown:#}");
            assert_eq!(shown["images"][0]["attestations"].as_array().unwrap().len(), 1, "{shown:#}");
        } else {
            let fits = std::env::consts::ARCH == "x86_64";
            let expected = &index.images[usize::from(!fits)];
            assert_eq!(whole.digest(), expected, "{target}");
            // Both digests are told: what was asked for, and what was chosen.
            assert!(whole.stderr.contains(&index.digest) && whole.stderr.contains(expected), "{whole:#?}");
        }
        let chosen = world.run(&format!("copy oci-archive:index.tar {target} --platform linux/arm64"));
        assert_eq!(chosen.digest(), index.images[1], "{target}");
        let none = world.run(&format!("copy oci-archive:index.tar {target} --platform linux/s390x"));
        none.failed(10, "it is there for linux/amd64, linux/arm64");
    }
}

#[test]
fn what_is_there_is_not_sent_again_and_within_one_place_nothing_travels() {
    let Some(world) = World::new() else { return };
    let image = world.image(&[1000, 300_000]);
    for base in [world.registry("once"), world.bucket("once"), "fs://bucket/once".to_owned(), "oci:once".to_owned()] {
        let first = world.json(&format!("copy {image} {base}:v1"));
        assert!(first["bytesSent"].as_u64().unwrap() > 300_000, "{first:#}");
        let again = world.json(&format!("copy {image} {base}:v2"));
        assert_eq!((&again["bytesSent"], &again["digest"]), (&0.into(), &first["digest"]), "{again:#}");
        if !base.starts_with("oci:") {
            // To another repository of the same bucket or registry.
            let beside = world.json(&format!("copy {base}:v1 {base}-beside/app:v1"));
            assert_eq!((&beside["bytesSent"], &beside["digest"]), (&0.into(), &first["digest"]), "{beside:#}");
        }
    }
}

/// Returns every file below a folder with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    walk(folder).into_iter().map(|path| (path.clone(), std::fs::read(path).expect("it can be read"))).collect()
}

#[test]
fn a_dry_run_tells_what_a_copy_would_do_and_changes_nothing() {
    let Some(world) = World::new() else { return };
    let image = world.image(&[1000, 300_000]);
    world.run(&format!("copy {image} fs://bucket/elsewhere:v1")).line();
    world.run(&format!("copy {image} {}:v1", world.registry("elsewhere"))).line();
    let before = files(world.path());
    for (target, is_there) in [
        ("fs://bucket/new:v1".to_owned(), true),
        ("fs://nobucket/new:v1".to_owned(), false),
        (format!("{}:v2", world.registry("elsewhere")), true),
        (format!("{}:v1", world.registry("new")), false),
        (format!("{}:v1", world.bucket("new")), false),
        ("oci:new:v1".to_owned(), false),
        ("oci-archive:new.tar".to_owned(), false),
        ("docker-archive:new.tar".to_owned(), false),
        ("docker-daemon:new:v1".to_owned(), false),
    ] {
        let told = world.json(&format!("copy {image} {target} --dry-run"));
        let status = if is_there { "exists" } else { "sent" };
        let blobs = told["blobs"].as_array().unwrap();
        assert!(blobs.len() == 3 && blobs.iter().all(|blob| blob["status"] == status), "{target}: {told:#}");
        assert_eq!(told["dryRun"], true);
        assert!(files(world.path()) == before, "{target}: a file has changed");
    }
    assert_eq!(world.run(&format!("tags {}", world.bucket("new"))).code, Some(10));
}

#[test]
fn all_tags_of_a_repository_are_copied_and_one_that_fails_keeps_none_back() {
    let Some(world) = World::new() else { return };
    for (tag, size) in [("v1", 1000), ("v2", 2000), ("v3", 3000)] {
        let image = world.image(&[size]);
        world.run(&format!("copy {image} fs://bucket/many:{tag}")).line();
    }
    let target = world.registry("many");
    let copied = world.run(&format!("copy --all-tags fs://bucket/many {target}"));
    assert_eq!(copied.code, Some(0), "{copied:#?}");
    assert_eq!(copied.stdout.lines().count(), 3, "{copied:#?}");
    assert_eq!(world.run(&format!("tags {target}")).stdout, "v1\nv2\nv3\n");
    let digest = |place: &str| world.run(&format!("manifest {place}")).stdout;
    assert_eq!(digest(&format!("{target}:v2")), digest("fs://bucket/many:v2"));
    // One whose layer is gone.
    let lost = world.json("manifest fs://bucket/many:v2")["manifest"]["layers"][0]["digest"].clone();
    std::fs::remove_file(world.blob(lost.as_str().unwrap())).unwrap();
    let partly = world.run("copy --all-tags fs://bucket/many oci-archive:x.tar");
    partly.failed(2, "--all-tags copies from a repository to a repository");
    let partly = world.run(&format!("copy --all-tags fs://bucket/many {}", world.registry("some")));
    assert_eq!((partly.code, partly.stdout.lines().count()), (Some(3), 2), "{partly:#?}");
    assert!(partly.stderr.contains("1 of 3 tags could not be copied"), "{partly:#?}");
    world.run(&format!("copy --all-tags fs://bucket/many:v1 {target}")).failed(2, "names one image");
}

#[test]
fn skopeo_and_crane_read_what_was_copied() {
    let Some(world) = World::new() else { return };
    let (Some(skopeo), Some(crane)) =
        (service("skopeo", "OCI_STORE_TEST_SKOPEO"), service("crane", "OCI_STORE_TEST_CRANE"))
    else {
        return;
    };
    let index = oci_index("app:v1", "readers", &["amd64", "arm64"]);
    std::fs::write(world.path().join("index.tar"), &index.archive).unwrap();
    let printed = |program: &str, line: &str| {
        let output = Command::new(program).current_dir(world.path()).args(line.split(' ')).output().expect("it starts");
        assert!(output.status.success(), "{program} {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints text")
    };
    let there = world.registry("read");
    for target in [format!("{there}:v1"), "oci:read:v1".to_owned(), "oci-archive:read.tar:v1".to_owned()] {
        world.run(&format!("copy oci-archive:index.tar {target}")).line();
        let raw = printed(&skopeo, &format!("inspect --tls-verify=false --raw {target}"));
        assert_eq!(raw, world.run(&format!("manifest {target}")).stdout, "{target}");
        printed(
            &skopeo,
            &format!("copy -q --src-tls-verify=false {target} dir:{}", tempfile::tempdir().unwrap().path().display()),
        );
    }
    let reference = format!("{}/read:v1", world.registry.address);
    assert_eq!(printed(&crane, &format!("digest --insecure {reference}")).trim(), index.digest);
    printed(&crane, &format!("pull --insecure --platform linux/arm64 {reference} crane.tar"));
    assert_eq!(
        world.run("config docker-archive:crane.tar").stdout,
        world.run("config oci:read --platform linux/arm64").stdout
    );
}
