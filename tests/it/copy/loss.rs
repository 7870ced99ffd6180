//! Sources that are damaged or lie: the target then shows nothing.

use std::fs;

use super::World;
use crate::support::image::oci_index;

/// Returns what becomes of a file, or `None` if it goes.
type Damage = fn(&[u8]) -> Option<Vec<u8>>;

#[test]
fn a_source_that_is_not_whole_leaves_nothing_at_the_target() {
    let Some(world) = World::new() else { return };
    let index = oci_index("app:v1", "loss", &["amd64", "arm64"]);
    fs::write(world.path().join("index.tar"), &index.archive).unwrap();
    world.run("copy oci-archive:index.tar fs://bucket/app:v1").line();
    let layer =
        world.json("manifest fs://bucket/app:v1 --platform linux/arm64")["manifest"]["layers"][0]["digest"].clone();
    let layer = layer.as_str().unwrap();
    let damages: [(&str, Damage); 3] = [
        ("is gone", |_| None),
        ("is cut", |bytes| Some(bytes[..bytes.len() - 1].to_vec())),
        ("has other bytes", |bytes| {
            let mut bytes = bytes.to_vec();
            bytes[20] ^= 1;
            Some(bytes)
        }),
    ];
    for damaged in [layer, &index.images[1]] {
        let whole = fs::read(world.blob(damaged)).unwrap();
        for (what, damage) in &damages {
            match damage(&whole) {
                Some(bytes) => fs::write(world.blob(damaged), bytes).unwrap(),
                None => fs::remove_file(world.blob(damaged)).unwrap(),
            }
            for target in [
                format!("{}:v1", world.registry("loss")),
                format!("{}:v1", world.bucket("loss")),
                "fs://other/loss:v1".to_owned(),
                "oci:loss".to_owned(),
                "oci-archive:loss.tar".to_owned(),
            ] {
                let copied = world.run(&format!("copy fs://bucket/app:v1 {target}"));
                assert_eq!(copied.code, Some(13), "{damaged} {what}, {target}: {copied:#?}");
                assert_eq!(copied.stdout, "");
                // A layout without an index is none, whatever blobs a next run may find there.
                let code = world.run(&format!("manifest {target}")).code;
                let expected = if target == "oci:loss" && world.path().join("loss").exists() { 13 } else { 10 };
                assert_eq!(code, Some(expected), "{damaged} {what}, {target}");
            }
            fs::write(world.blob(damaged), &whole).unwrap();
        }
    }
    // What the failed copies left does not stand in the way.
    for target in [format!("{}:v1", world.registry("loss")), "oci:loss".to_owned()] {
        assert_eq!(world.run(&format!("copy fs://bucket/app:v1 {target}")).digest(), index.digest);
    }
}

#[test]
fn a_copy_that_fails_leaves_the_old_image() {
    let Some(world) = World::new() else { return };
    let image = world.image(&[500]);
    let old = world.run(&format!("copy {image} {}:v1", world.registry("old"))).digest().to_owned();
    let image = world.image(&[900]);
    world.run(&format!("copy {image} fs://bucket/new:v1")).line();
    let layer = world.json("manifest fs://bucket/new:v1")["manifest"]["layers"][0]["digest"].clone();
    fs::remove_file(world.blob(layer.as_str().unwrap())).unwrap();
    let target = format!("{}:v1", world.registry("old"));
    world.run(&format!("copy fs://bucket/new:v1 {target}")).failed(13, "the image is not whole");
    assert_eq!(world.json(&format!("manifest {target}"))["digest"], old.as_str());
}

#[test]
fn one_damaged_referrer_hides_no_other_and_is_not_lost_in_silence() {
    let Some(world) = World::new() else { return };
    let (image, app) = (world.image(&[500]), "fs://bucket/app:v1");
    world.run(&format!("copy {image} {app}")).line();
    fs::write(world.path().join("file"), "content").unwrap();
    let attach =
        |kind: &str| world.run(&format!("artifact attach {app} file --artifact-type {kind}")).digest().to_owned();
    let (whole, damaged) = (attach("acme/sbom"), attach("acme/signature"));
    let bytes = fs::read(world.blob(&damaged)).unwrap();
    fs::write(world.blob(&damaged), &bytes[..bytes.len() / 2]).unwrap();
    let found = world.run(&format!("artifact discover {app}"));
    assert_eq!(found.code, Some(0), "{found:#?}");
    assert!(found.stdout.contains(&format!("acme/sbom {whole}")) && found.stdout.contains(&damaged), "{found:#?}");
    assert!(found.stderr.contains(&damaged), "{found:#?}");
    let target = format!("{}:v1", world.registry("attached"));
    world.run(&format!("copy {app} {target}")).failed(13, "the bucket is damaged");
    assert_eq!(world.run(&format!("manifest {target}")).code, Some(10));
    world.run(&format!("copy {app} {target} --no-referrers")).line();
    fs::write(world.blob(&damaged), &bytes).unwrap();
    let copied = world.json(&format!("copy {app} {target}"));
    assert_eq!(copied["referrers"].as_array().unwrap().len(), 2, "{copied:#}");
}

#[test]
fn places_that_cannot_be_meant_are_refused() {
    let Some(world) = World::new() else { return };
    let digest = format!("sha256:{}", "0".repeat(64));
    for (line, says) in [
        ("copy app:v1 fs://b/app:v1", "may be an image of the Docker daemon or of a registry"),
        ("copy ghcr.io/org/app:v1 fs://b/app:v1", "docker://ghcr.io/org/app:v1"),
        ("copy docker://ghcr.io/org/app fs://b/app:v1", "names neither a tag nor a digest"),
        (&format!("copy oci:x fs://b/app@{digest}"), "it names a digest"),
        ("copy docker://a.example/x:v1 docker://b.example/x:v1 -u me -p secret", "would be sent to both"),
        ("copy s3://b/x gs://b/x --endpoint http://127.0.0.1:1", "--endpoint would be that of both"),
        ("copy oci:x nowhere://b/x", "unknown scheme"),
    ] {
        let source = if line.starts_with("copy oci:x fs") { world.image(&[1]) } else { "oci:x" };
        world.run(&line.replace("oci:x", source)).failed(2, says);
    }
}
