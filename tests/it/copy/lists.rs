//! `tags`, `ls`, `manifest`, `config`, `blob`, `inspect`: the same in a registry and a bucket.

use std::fs;

use storage_layout::Algorithm;

use super::World;
use crate::support::image::oci_index;

/// Returns a repository in a registry and one in each kind of bucket.
fn repositories(world: &World) -> [String; 3] {
    [world.registry("list/app"), world.bucket("list/app"), "fs://bucket/list/app".to_owned()]
}

#[test]
fn tags_and_repositories_are_listed_one_to_a_line() {
    let Some(world) = World::new() else { return };
    let image = world.image(&[1000, 20_000]);
    for repository in repositories(&world) {
        for tag in ["v2", "v1"] {
            world.run(&format!("copy {image} {repository}:{tag}")).line();
        }
        assert_eq!(world.run(&format!("tags {repository}")).stdout, "v1\nv2\n");
        assert_eq!(world.json(&format!("tags {repository}"))["tags"], serde_json::json!(["v1", "v2"]));
        let listed = world.run(&format!("ls {repository}"));
        let lines: Vec<Vec<&str>> = listed.stdout.lines().map(|line| line.split("  ").collect()).collect();
        assert_eq!(lines.len(), 2, "{listed:#?}");
        assert!(
            lines[0][0] == "v1" && lines[0][1].starts_with("sha256:") && lines[0][2].ends_with("kB"),
            "{listed:#?}"
        );
        let entry = &world.json(&format!("ls {repository}"))["tags"][1];
        assert!(entry["tag"] == "v2" && entry["contentSize"].as_u64().unwrap() > 20_000, "{entry:#}");
        let (holder, _) = repository.rsplit_once("/list").unwrap();
        assert!(world.run(&format!("ls {holder}")).stdout.lines().any(|name| name == "list/app"), "{holder}");
        assert_eq!(world.json(&format!("ls {holder}"))["place"], holder);
        for verb in ["tags", "ls"] {
            world.run(&format!("{verb} {repository}:v1")).failed(2, "a whole repository is listed");
            world.run(&format!("{verb} {repository}-not")).failed(10, "list/app-not");
        }
    }
    world.run("ls fs://nothere").failed(10, "nothere");
    world.run("tags alpine").failed(2, "write HOST/NAME:TAG");
}

#[test]
fn manifests_are_shown_byte_for_byte_stored_and_deleted() {
    let Some(world) = World::new() else { return };
    let index = oci_index("app:v1", "documents", &["amd64", "arm64"]);
    fs::write(world.path().join("index.tar"), &index.archive).unwrap();
    for repository in repositories(&world) {
        world.run(&format!("copy oci-archive:index.tar {repository}:v1")).line();
        let by_tag = world.run(&format!("manifest {repository}:v1"));
        let digest = Algorithm::Sha256.digest(by_tag.stdout.as_bytes());
        assert_eq!(digest.as_str(), index.digest);
        assert!(by_tag.stderr.contains(&format!("index {digest}")), "{by_tag:#?}");
        let both = format!("{repository}:v1@{digest}");
        assert_eq!(world.run(&format!("manifest get {both}")).stdout, by_tag.stdout);
        let document = world.json(&format!("manifest {repository}@{digest} --resolve --platform linux/arm64"));
        assert_eq!(document["digest"], index.digest);
        assert_eq!(document["manifest"]["manifests"][1]["digest"], index.images[1]);
        assert_eq!(document["resolved"]["digest"], index.images[1]);
        let resolved = world.run(&format!("manifest {repository}:v1 --resolve --platform linux/arm64"));
        assert!(resolved.stderr.contains(&index.digest) && resolved.stderr.contains(&index.images[1]), "{resolved:#?}");
        assert!(resolved.stdout.starts_with(&by_tag.stdout), "{resolved:#?}");
        world.run(&format!("manifest {repository}:v1 --platform linux/s390x")).failed(10, "linux/amd64, linux/arm64");
        world.run(&format!("manifest {repository}:v9")).failed(10, &format!("oci-store tags {repository}"));
        let config = world.run(&format!("config {repository}:v1 --platform linux/arm64"));
        assert_eq!(Algorithm::Sha256.digest(config.stdout.as_bytes()).as_str(), index.configs[1]);
        // The same document again, under another tag; and with a digest that it has not.
        fs::write(world.path().join("document"), &by_tag.stdout).unwrap();
        assert_eq!(world.run(&format!("manifest put {repository}:v2 document")).digest(), index.digest);
        let wrong = format!("{repository}@sha256:{}", "0".repeat(64));
        world.run(&format!("manifest put {wrong} document")).failed(13, &index.digest);
        fs::write(world.path().join("document"), "{}").unwrap();
        world.run(&format!("manifest put {repository}:v3 document")).failed(13, "not a manifest");
        world.run(&format!("manifest delete {repository}:v2")).line();
        world.run(&format!("manifest {both}")).failed(10, "");
        world.run(&format!("manifest delete {repository}:v2")).failed(10, "");
    }
    world.run(&format!("manifest {}", world.registry("list/app"))).failed(2, "neither a tag nor a digest");
    world.run("manifest").failed(2, "manifest is told no image");
}

#[test]
fn blobs_are_stored_once_and_read_back_verified() {
    let Some(world) = World::new() else { return };
    fs::write(world.path().join("file"), "content").unwrap();
    let digest = Algorithm::Sha256.digest(b"content");
    for repository in repositories(&world) {
        let stored = world.json(&format!("blob put {repository} file"));
        assert_eq!((&stored["digest"], &stored["status"]), (&digest.as_str().into(), &"sent".into()));
        assert_eq!(world.json(&format!("blob put {repository} file"))["status"], "exists");
        assert_eq!(world.run(&format!("blob get {repository}@{digest}")).stdout, "content");
        assert_eq!(world.run(&format!("blob get {repository}@{digest} -o back")).code, Some(0));
        assert_eq!(fs::read_to_string(world.path().join("back")).unwrap(), "content");
        let missing = format!("{repository}@sha256:{}", "0".repeat(64));
        world.run(&format!("blob get {missing} -o missing")).failed(10, "there is no blob");
        assert!(!world.path().join("missing").exists());
        world.run(&format!("blob put {missing} file")).failed(13, digest.as_str());
        world.run(&format!("blob get {repository}:v1")).failed(2, "names no blob");
    }
    // Damaged in the bucket.
    fs::write(world.blob(digest.as_str()), "cOntent").unwrap();
    world.run(&format!("blob get fs://bucket/list/app@{digest} -o damaged")).failed(13, "damaged");
    assert!(!world.path().join("damaged").exists());
}

#[test]
fn inspect_tells_what_an_image_is_made_of() {
    let Some(world) = World::new() else { return };
    let image = world.image(&[1000, 20_000]);
    for repository in repositories(&world) {
        world.run(&format!("copy {image} {repository}:v1")).line();
        let shown = world.json(&format!("inspect {repository}:v1"));
        let one = &shown["images"][0];
        assert_eq!(one["platform"], "linux/amd64");
        assert_eq!(one["layers"].as_array().unwrap().len(), 2);
        assert!(one["labels"]["seed"].is_string(), "{shown:#}");
        let text = world.run(&format!("inspect {repository}:v1")).stdout;
        for part in [&format!("{repository}:v1"), "linux/amd64", "label    seed=", "  layer    sha256:"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    for place in [image, "oci:inspected"] {
        world.run(&format!("copy {image} oci:inspected")).line();
        assert_eq!(world.json(&format!("inspect {place}"))["images"][0]["platform"], "linux/amd64");
    }
}
