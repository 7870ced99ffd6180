//! Every pair of places: what comes out is what went in, byte for byte.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use storage_layout::Algorithm;

use super::World;
use crate::places::walk;
use crate::support::azure::Azure;
use crate::support::docker::{Docker, LoadedImage};
use crate::support::google;
use crate::support::image::oci_index;
use crate::support::run::{Ran, run};
use crate::support::service;

/// How many kinds of place there are beside daemons.
const KINDS: usize = 8;

/// All kinds of place: what [`World`] has, Azure and Google.
struct Ground {
    world: World,
    azure: Azure,
    google: String,
}

impl Ground {
    async fn new() -> Option<Self> {
        let (world, azure) = (World::new()?, Azure::get()?);
        Some(Self { world, azure, google: google::start().await })
    }

    /// Returns one of each kind of place but the daemons. All but the last hold images and indexes byte for byte, the last one
    /// image.
    fn places(&self, name: &str) -> [String; KINDS] {
        [
            format!("fs://bucket/{name}:v1"),
            format!("{}:v1", self.world.bucket(name)),
            format!("az://{}/{name}:v1", self.azure.container),
            format!("gs://{}/{name}:v1", google::BUCKET),
            format!("{}:v1", self.world.registry(name)),
            format!("oci:{name}.layout:v1"),
            format!("oci-archive:{name}.oci.tar:v1"),
            format!("docker-archive:{name}.tar:app:v1"),
        ]
    }

    /// Points a line at all of them.
    fn command(&self, line: &str) -> Command {
        let Azure { account, key, endpoint, .. } = &self.azure;
        let azure = format!("AccountName={account};AccountKey={key};BlobEndpoint={endpoint};");
        let mut command = self.world.command();
        command.env("AZURE_STORAGE_CONNECTION_STRING", azure).env("STORAGE_EMULATOR_HOST", &self.google);
        command.args(line.split(' '));
        command
    }

    fn run(&self, line: &str) -> Ran {
        run(&mut self.command(line))
    }
}

/// The daemons, each with whether it keeps images byte for byte. Docker's own store and Podman's keep layers unpacked and compress
/// them anew: an image is the same there if its id is, which is the digest of its config.
fn daemons() -> Vec<(Docker, bool)> {
    let near = Docker::all().into_iter().filter(|(kind, _)| *kind != "docker-far");
    near.map(|(kind, docker)| (docker, kind == "docker-c8d")).collect()
}

/// Each pair is a step of one of the walks. No walk comes to a place twice, and each has an image of its own: so everything has to
/// be written at each step, and what was written is all read at the next.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_the_same_after_a_copy_from_any_place_to_any_other() {
    let Some(ground) = Ground::new().await else { return };
    tokio::task::block_in_place(|| {
        let mut pairs = HashSet::new();
        for first in 0..KINDS {
            let image = ground.world.image(&[1000 + first, first, 300_000 + first]);
            let places = ground.places(&format!("walk{first}"));
            let mut source = None;
            let mut copied = Vec::new();
            // The distances between neighbours are all different, so no two walks have a pair in common.
            for step in [0, 1, 7, 2, 6, 3, 5, 4] {
                let target = (first + step) % KINDS;
                let from = source.map_or(image, |source: usize| places[source].as_str());
                let ran = ground.run(&format!("copy {from} {} --format json", places[target]));
                let told: serde_json::Value = serde_json::from_str(ran.line()).unwrap();
                assert_eq!(told["reference"], places[target].as_str(), "{from}: {told:#}");
                copied.push((told["digest"].clone(), told["bytesSent"].clone()));
                assert_eq!(copied[0], copied[copied.len() - 1], "{from}: {told:#}");
                pairs.extend(source.map(|source| (source, target)));
                source = Some(target);
            }
            let last = &places[source.unwrap()];
            assert_eq!(ground.run(&format!("config {last}")).stdout, ground.run(&format!("config {image}")).stdout);
            let manifest = ground.run(&format!("manifest {last}"));
            assert_eq!(manifest.stdout, ground.run(&format!("manifest {}", places[first])).stdout, "{last}");
        }
        assert_eq!(pairs.len(), KINDS * (KINDS - 1));
    });
}

/// A command has one daemon, so none is copied to another.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_the_same_after_a_copy_to_any_daemon_and_out_of_it() {
    let Some(ground) = Ground::new().await else { return };
    tokio::task::block_in_place(|| {
        let sources = ground.places("from");
        let images: Vec<_> = sources
            .iter()
            .enumerate()
            .map(|(at, source)| {
                let image = ground.world.image(&[1000 + at, at, 300_000 + at]);
                let digest = ground.run(&format!("copy {image} {source}")).digest().to_owned();
                (source, digest, ground.run(&format!("config {image}")).stdout)
            })
            .collect();
        for (at, (docker, keeps_digests)) in daemons().iter().enumerate() {
            // Nothing of the images is in these buckets.
            let empty = format!("{}-{at}", ground.world.s3.root);
            let run_there = |line: &str, root: &str| {
                run(docker.configure(&mut ground.command(line)).env("OCI_STORE_ROOT_DIR", root))
            };
            let targets = ground.places(&format!("to{at}"));
            for (at, (source, digest, config)) in images.iter().enumerate() {
                let (image, target) = (LoadedImage::expected(docker), &targets[(at + 1) % KINDS]);
                let there = format!("docker-daemon:{}", image.name());
                let copied = run_there(&format!("copy {source} {there}"), &ground.world.s3.root);
                assert_eq!(copied.digest(), digest, "{source} {docker:?}");
                let id = if *keeps_digests { digest.clone() } else { digest_of(config) };
                assert_eq!(image.id(), id, "{source} {docker:?}");
                let back = run_there(&format!("copy {there} {target}"), &empty);
                assert!(back.line().starts_with(target) && (back.digest() == digest || !keeps_digests), "{back:#?}");
                assert_eq!(run_there(&format!("config {target}"), &empty).stdout, *config, "{docker:?} {target}");
                if at == 0 {
                    let other = LoadedImage::expected(docker);
                    run_there(&format!("copy {there} docker-daemon:{}", other.name()), &empty).line();
                    assert_eq!(other.id(), id, "{docker:?}");
                }
            }
        }
    });
}

fn digest_of(text: &str) -> String {
    Algorithm::Sha256.digest(text.as_bytes()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_copied_whole_and_one_platform_of_it_where_only_one_fits() {
    let Some(ground) = Ground::new().await else { return };
    let index = oci_index("app:v1", "matrix", &["amd64", "arm64"]);
    std::fs::write(ground.world.path().join("index.tar"), &index.archive).unwrap();
    let copy = |docker: &Docker, target: &str, flags: &str| {
        run(docker.configure(&mut ground.command(&format!("copy oci-archive:index.tar {target}{flags}"))))
    };
    let daemons = daemons();
    let (local, _) = &daemons[0];
    let images: Vec<_> = daemons.iter().map(|(docker, _)| (docker, LoadedImage::expected(docker))).collect();
    let there = images.iter().map(|(docker, image)| (*docker, format!("docker-daemon:{}", image.name())));
    let targets = ground.places("whole").map(|target| (local, target)).into_iter().chain(there);
    tokio::task::block_in_place(|| {
        for (docker, target) in targets {
            let whole = copy(docker, &target, "");
            if target.starts_with("docker-") {
                let fits = std::env::consts::ARCH == "x86_64";
                let expected = &index.images[usize::from(!fits)];
                assert_eq!(whole.digest(), expected, "{target}");
                // Both digests are told: what was asked for, and what was chosen.
                assert!(whole.stderr.contains(&index.digest) && whole.stderr.contains(expected), "{whole:#?}");
            } else {
                assert_eq!(whole.digest(), index.digest, "{target}");
                let shown = ground.run(&format!("inspect {target} --format json"));
                let shown: serde_json::Value = serde_json::from_str(shown.line()).unwrap();
                assert_eq!(super::digests(&shown["images"]), index.images, "{shown:#}");
                assert_eq!(shown["images"][0]["attestations"].as_array().unwrap().len(), 1, "{shown:#}");
            }
            let chosen = copy(docker, &target, " --platform linux/arm64");
            assert_eq!(chosen.digest(), index.images[1], "{target}");
            let none = copy(docker, &target, " --platform linux/s390x");
            none.failed(10, "it is there for linux/amd64, linux/arm64");
        }
    });
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
