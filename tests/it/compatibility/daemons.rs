//! Each daemon, by each way to it, by each operation.

use std::fs;

use super::table::{Cell, Column, Operation, Table};
use crate::daemons::Place;
use crate::support::docker::{Docker, LoadedImage};
use crate::support::image::{OciIndex, oci_index};

const COMPRESSED_ANEW: &str =
    "Its store keeps layers unpacked and compresses them anew; the image's id is the same, the digest is not.";
const ONE_IMAGE: &str = "Its store keeps one image of an index.";
const IN_PLACE: &str = "The archive that it loads holds one image, which comes in place of its index.";

const OPERATIONS: &[Operation<Way>] = &[
    ("`--transport auto` takes it", chosen),
    ("`push`", push),
    ("the same `push` again sends nothing", push_again),
    ("`pull`: the same image id, under any name", pull),
    ("an image that was pulled is pushed with the digest it had", same_digest),
    ("an index is pushed whole, with its attestations", index_whole),
    ("`push --platform` takes one image of an index", push_platform),
    ("`pull` of an index brings the image for the daemon's platform", pull_index),
    ("`pull` of an index brings the index, with the digest it had", pull_index_itself),
    ("`pull --platform linux/arm64`", pull_platform),
    ("`pull` of a platform that is not there: exit 10, naming those that are", pull_other_platform),
    ("`push` of an image that is not there: exit 10", no_image),
    ("a name is given and taken back while it works", no_names_left),
];

/// A daemon, and a way to it.
struct Way {
    kind: &'static str,
    docker: Docker,
    transport: &'static str,
}

/// Tries everything, if all daemons are there.
pub(super) fn table() -> Option<Table> {
    let daemons = Docker::all();
    let column = |name: &'static str, kind: &'static str, transport: &'static str| {
        let (_, docker) = daemons.iter().find(|(found, _)| *found == kind)?;
        let place = Way { kind, docker: docker.clone(), transport };
        Some(Column { name, closed: place.refused(), place })
    };
    let columns = [
        column("Docker 20, registry", "docker", "registry")?,
        column("Docker 20, archive", "docker", "archive")?,
        column("Docker 28, registry", "docker-c8d", "registry")?,
        column("Docker 28, archive", "docker-c8d", "archive")?,
        column("Podman, registry", "podman", "registry")?,
        column("Podman, archive", "podman", "archive")?,
        column("far away, registry", "docker-far", "registry")?,
        column("far away, archive", "docker-far", "archive")?,
    ];
    Some(Table::of(&columns, OPERATIONS))
}

impl Way {
    fn place(&self) -> Place<'_> {
        Place::new(&self.docker, self.transport)
    }

    /// Tells why this way cannot be, after it was seen to be refused.
    fn refused(&self) -> Option<Cell> {
        let (code, says, reason) = match (self.kind, self.transport) {
            ("podman", "registry") => (
                2,
                "pulls from registries with TLS only",
                "Podman's API pulls from registries with TLS only: refused with exit 2.",
            ),
            ("docker-far", "registry") => {
                (15, "connection refused", "The daemon does not reach the registry on our 127.0.0.1: exit 15.")
            }
            _ => return None,
        };
        let image = LoadedImage::new(&self.docker, &[1000]);
        self.place().run("push", &image.name(), &[]).failed(code, says);
        Some(Cell::no(reason))
    }

    /// Has an index for two platforms in a bucket, and returns the place, and the name under which a daemon will have it.
    fn with_index(&self) -> (Place<'_>, LoadedImage, OciIndex) {
        let (place, image) = (self.place(), LoadedImage::expected(&self.docker));
        let made = oci_index(&image.name(), &image.repository, &["arm64", "amd64"]);
        let archive = place.folder.path().join("index.tar");
        fs::write(&archive, &made.archive).expect("a file can be written");
        let pushed = place.run("push", &image.name(), &["-i", &format!("oci-archive:{}", archive.display())]);
        assert_eq!(pushed.digest(), made.digest);
        (place, image, made)
    }

    fn architecture(&self, image: &LoadedImage) -> String {
        self.docker.run(&["image", "inspect", "--format", "{{.Architecture}}", &image.name()])
    }
}

fn chosen(way: &Way) -> Cell {
    let image = LoadedImage::new(&way.docker, &[1000]);
    // A machine at its limits may not reach us within the seconds that it is given: this is no fact about the daemon.
    for _ in 0..5 {
        let ran = Place::new(&way.docker, "auto").run("push", &image.name(), &["-v"]);
        ran.line();
        let (_, said) = ran.stderr.split_once("transport ").expect("-v says which way was taken");
        let said = said.lines().next().unwrap_or_default();
        if !said.ends_with("in time") {
            return Cell::pass_if(said.starts_with(way.transport), &format!("It takes the {said}."));
        }
    }
    panic!("the daemon never reaches us in time");
}

fn push(way: &Way) -> Cell {
    let image = LoadedImage::new(&way.docker, &[1000, 0, 300_000]);
    let document = way.place().document("push", &image.name());
    assert_eq!(document["transport"], way.transport, "{document}");
    if way.kind == "docker-c8d" {
        assert_eq!(document["digest"], image.id(), "the digest that the daemon knows is that of the bucket");
    }
    Cell::Pass
}

fn push_again(way: &Way) -> Cell {
    let image = LoadedImage::new(&way.docker, &[1000, 300_000]);
    let place = way.place();
    let first = place.document("push", &image.name());
    let again = place.document("push", &image.name());
    assert_eq!((&again["digest"], &again["bytesSent"]), (&first["digest"], &0.into()), "{again}");
    Cell::Pass
}

fn pull(way: &Way) -> Cell {
    let image = LoadedImage::new(&way.docker, &[1000, 0, 300_000]);
    let (place, id, other) = (way.place(), image.id(), format!("{}-other:v2", image.repository));
    let digest = place.run("push", &image.name(), &[]).digest().to_owned();
    image.remove();
    let document = place.document("pull", &image.name());
    assert_eq!((&document["digest"], &document["transport"]), (&digest.into(), &way.transport.into()), "{document}");
    assert_eq!(image.id(), id);
    // What it has already comes under another name too.
    place.run("pull", &image.name(), &["-i", &other]).line();
    assert_eq!(way.docker.id(&other), Some(id));
    Cell::Pass
}

fn same_digest(way: &Way) -> Cell {
    let (place, image, made) = way.with_index();
    place.run("pull", &image.name(), &["--platform", "linux/amd64"]).line();
    let other = way.place();
    let pushed = other.run("push", &image.name(), &["--platform", "linux/amd64"]);
    Cell::pass_if(pushed.digest() == made.images[1], COMPRESSED_ANEW)
}

fn index_whole(way: &Way) -> Cell {
    let image = LoadedImage::expected(&way.docker);
    if way.kind == "docker-c8d" {
        let made = oci_index(&image.name(), &image.repository, &["amd64", "arm64"]);
        way.docker.load(&made.archive);
        let place = way.place();
        assert_eq!(place.run("push", &image.name(), &[]).digest(), made.digest);
        let layout = place.folder.path().join("layout");
        place.run("pull", &image.name(), &["-i", &format!("oci:{}", layout.display())]).line();
        // The index, and for each platform a manifest, a config and a layer, and as many of its attestation.
        assert_eq!(fs::read_dir(layout.join("blobs/sha256")).expect("it is there").count(), 1 + 2 * 3 + 2 * 3);
        return Cell::Pass;
    }
    let (place, image, made) = way.with_index();
    place.run("pull", &image.name(), &[]).line();
    place.run("push", &format!("{}-back:v1", image.repository), &["-i", &image.name()]).line();
    let back = place.document("pull", &format!("{}-back:v1", image.repository));
    assert_ne!(back["digest"], made.digest.as_str());
    assert_eq!(back["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    Cell::no(ONE_IMAGE)
}

fn push_platform(way: &Way) -> Cell {
    if way.kind != "docker-c8d" {
        let image = LoadedImage::new(&way.docker, &[1000]);
        let ran = way.place().run("push", &image.name(), &["--platform", "linux/arm64"]);
        ran.failed(10, "it is there for linux/amd64");
        return Cell::no("Its store keeps one image of an index; another platform ends in exit 10.");
    }
    let image = LoadedImage::expected(&way.docker);
    let made = oci_index(&image.name(), &image.repository, &["amd64", "arm64"]);
    way.docker.load(&made.archive);
    let pushed = way.place().run("push", &image.name(), &["--platform", "linux/arm64"]);
    assert_eq!(pushed.digest(), made.images[1]);
    Cell::Pass
}

fn pull_index(way: &Way) -> Cell {
    let (place, image, made) = way.with_index();
    assert_eq!(place.run("pull", &image.name(), &[]).digest(), made.digest);
    assert_eq!(way.architecture(&image), "amd64");
    Cell::Pass
}

fn pull_index_itself(way: &Way) -> Cell {
    let (place, image, made) = way.with_index();
    place.run("pull", &image.name(), &[]).line();
    let id = image.id();
    assert!([&made.digest, &made.images[1], &made.configs[1]].contains(&&id), "{id}");
    Cell::pass_if(id == made.digest, if way.kind == "docker-c8d" { IN_PLACE } else { ONE_IMAGE })
}

fn pull_platform(way: &Way) -> Cell {
    let (place, image, made) = way.with_index();
    let pulled = place.run("pull", &image.name(), &["--platform", "linux/arm64"]);
    assert_eq!(pulled.digest(), made.images[0]);
    assert_eq!(way.architecture(&image), "arm64");
    Cell::Pass
}

fn pull_other_platform(way: &Way) -> Cell {
    let (place, image, _) = way.with_index();
    place.run("pull", &image.name(), &["--platform", "linux/s390x"]).failed(10, "linux/arm64, linux/amd64");
    Cell::Pass
}

fn no_image(way: &Way) -> Cell {
    let image = LoadedImage::expected(&way.docker);
    way.place().run("push", &image.name(), &[]).failed(10, &image.repository);
    Cell::Pass
}

fn no_names_left(way: &Way) -> Cell {
    let image = LoadedImage::new(&way.docker, &[1000]);
    let place = way.place();
    place.run("push", &image.name(), &[]).line();
    assert_eq!(way.docker.temporary_names(&image.repository), [""; 0]);
    image.remove();
    place.run("pull", &image.name(), &[]).line();
    assert_eq!(way.docker.temporary_names(&image.repository), [""; 0]);
    Cell::Pass
}
