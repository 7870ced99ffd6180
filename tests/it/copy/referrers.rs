//! What is attached to an image goes with it.

use std::process::Command;

use serde_json::{Value, json};
use storage_layout::Algorithm;

use super::World;
use crate::support::image::oci_index;
use crate::support::service;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Attaches a made-up document to a manifest: by its subject, or by a tag.
fn attach(world: &World, repository: &str, subject: &Value, kind: &str, tag: Option<&str>) -> Value {
    let content = format!("{kind} of {}", subject["digest"]);
    let blob = |name: &str, bytes: &str| {
        std::fs::write(world.path().join(name), bytes).expect("a file can be written");
        world.run(&format!("blob put {repository} {name}")).line();
        json!({"mediaType": kind, "digest": Algorithm::Sha256.digest(bytes.as_bytes()), "size": bytes.len()})
    };
    let mut config = blob("empty", "{}");
    config["mediaType"] = "application/vnd.oci.empty.v1+json".into();
    let mut document = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [blob("statement", &content)],
    });
    if tag.is_none() {
        document["artifactType"] = kind.into();
        document["subject"] = subject.clone();
    }
    let bytes = document.to_string();
    let digest = Algorithm::Sha256.digest(bytes.as_bytes()).to_string();
    std::fs::write(world.path().join("document"), &bytes).expect("a file can be written");
    let place = tag.map_or_else(|| format!("{repository}@{digest}"), |tag| format!("{repository}:{tag}"));
    assert_eq!(world.run(&format!("manifest put {place} document")).digest(), digest);
    json!({"mediaType": MANIFEST, "digest": digest, "size": bytes.len()})
}

/// Returns `artifact type < artifact type` of everything that is attached to an image, and to its platforms.
fn attached(world: &World, place: &str) -> Vec<String> {
    fn collect(nodes: &Value, below: &str, found: &mut Vec<String>) {
        for node in nodes.as_array().expect("an array") {
            let kind = node["tag"].as_str().and_then(|tag| tag.rsplit_once('.')).map(|(_, suffix)| suffix);
            let path = format!("{below} < {}", kind.unwrap_or_else(|| node["artifactType"].as_str().expect("a type")));
            collect(&node["referrers"], &path, found);
            found.push(path);
        }
    }
    let shown = world.json(&format!("inspect {place}"));
    let mut found = Vec::new();
    collect(&shown["referrers"], "index", &mut found);
    for image in shown["images"].as_array().expect("an array") {
        collect(&image["referrers"], image["platform"].as_str().expect("a platform"), &mut found);
    }
    found.sort();
    found
}

/// Puts an index with attachments of all kinds into a folder, and returns its place.
fn signed(world: &World) -> String {
    let index = oci_index("app:v1", "signed", &["amd64", "arm64"]);
    std::fs::write(world.path().join("index.tar"), &index.archive).expect("a file can be written");
    let repository = "fs://bucket/signed";
    world.run(&format!("copy oci-archive:index.tar {repository}:v1")).line();
    let root = world.json(&format!("manifest {repository}:v1"));
    let subject = json!({"mediaType": root["mediaType"], "digest": root["digest"], "size": root["size"]});
    let sbom = attach(world, repository, &subject, "application/spdx+json", None);
    attach(world, repository, &sbom, "application/x.signature", None);
    let mut child = root["manifest"]["manifests"][0].clone();
    child.as_object_mut().expect("a descriptor").remove("platform");
    attach(world, repository, &child, "application/x.scan", None);
    let tag = format!("{}.sig", index.digest.replace(':', "-"));
    attach(world, repository, &subject, "application/vnd.dev.cosign.simplesigning.v1+json", Some(&tag));
    format!("{repository}:v1")
}

#[test]
fn what_is_attached_goes_from_place_to_place() {
    let Some(world) = World::new() else { return };
    let first = signed(&world);
    let expected = [
        "index < application/spdx+json",
        "index < application/spdx+json < application/x.signature",
        "index < sig",
        "linux/amd64 < application/x.scan",
    ];
    assert_eq!(attached(&world, &first), expected);
    // Each place hands on what the one before gave it.
    let mut source = first;
    for target in [
        format!("{}:v1", world.registry("signed")),
        "oci:signed:v1".to_owned(),
        "oci-archive:signed.tar:v1".to_owned(),
        format!("{}:v1", world.bucket("signed")),
        "oci:again".to_owned(),
        format!("{}:v1", world.registry("signed/again")),
    ] {
        let copied = world.json(&format!("copy {source} {target}"));
        assert_eq!(copied["referrers"].as_array().unwrap().len(), 4, "{target}: {copied:#}");
        assert_eq!(attached(&world, &target), expected, "{target}");
        source = target;
    }
    // Without, where that is wanted; and the image alone takes along what is attached to it.
    world.run(&format!("copy {source} oci:bare --no-referrers")).line();
    assert_eq!(attached(&world, "oci:bare"), [""; 0]);
    let one = world.json(&format!("copy {source} oci:one --platform linux/amd64"));
    assert_eq!(one["referrers"].as_array().unwrap().len(), 1, "{one:#}");
    // The text for people has the tree.
    let text = world.run(&format!("inspect {source}")).stdout;
    assert!(text.contains("application/spdx+json\n    sha256:"), "{text}");
}

#[test]
fn what_cannot_hold_it_refuses_and_names_the_flag() {
    let Some(world) = World::new() else { return };
    let source = signed(&world);
    let daemon = world.daemon_image();
    for target in ["docker-archive:lost.tar".to_owned(), format!("docker-daemon:{}", daemon.name())] {
        let line = format!("copy {source} {target} --platform linux/amd64");
        let refused = world.run(&line);
        refused.failed(1, "cannot hold what is attached to the image");
        assert!(
            refused.stderr.contains("--no-referrers") && refused.stderr.contains("application/x.scan"),
            "{refused:#?}"
        );
        let file = world.path().join("lost.tar");
        assert!(!file.exists());
        world.run(&format!("{line} --no-referrers")).line();
        drop(std::fs::remove_file(file));
    }
    // A pull brings the image; nobody expects more of it.
    world.run(&format!("pull {source} -i docker-archive:pulled.tar --platform linux/amd64")).line();
}

#[test]
fn oras_finds_what_was_copied_and_the_reverse() {
    let (Some(world), Some(oras)) = (World::new(), service("oras", "OCI_STORE_TEST_ORAS")) else { return };
    let run = |line: &str| {
        let output = Command::new(&oras).current_dir(world.path()).args(line.split(' ')).output().expect("it starts");
        assert!(output.status.success(), "oras {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints text")
    };
    let image = world.image(&[1000]);
    let name = format!("{}/oras", world.registry.address);
    world.run(&format!("copy {image} docker://{name}:v1")).line();
    std::fs::write(world.path().join("sbom.json"), "{}").unwrap();
    run(&format!("attach --plain-http --artifact-type application/spdx+json {name}:v1 sbom.json"));
    for target in ["oci:oras:v1".to_owned(), format!("{}:v1", world.registry("other"))] {
        let copied = world.json(&format!("copy docker://{name}:v1 {target}"));
        assert_eq!(copied["referrers"].as_array().unwrap().len(), 1, "{copied:#}");
        let discovered = match target.strip_prefix("docker://") {
            Some(target) => run(&format!("discover --plain-http --format json {target}")),
            None => run("discover --oci-layout --format json oras:v1"),
        };
        assert!(discovered.contains("application/spdx+json"), "{target}: {discovered}");
    }
    // A layout that oras wrote, referrers and all.
    run(&format!("copy --recursive --from-plain-http {name}:v1 --to-oci-layout theirs:v1"));
    let read = world.json("copy oci:theirs:v1 fs://bucket/read:v1");
    assert_eq!(read["referrers"].as_array().unwrap().len(), 1, "{read:#}");
    assert_eq!(world.run("manifest oci:theirs").stdout, world.run("manifest fs://bucket/read:v1").stdout);
}
