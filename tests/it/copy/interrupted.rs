//! Ctrl-C in the middle of a copy.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use storage_layout::{Algorithm, Descriptor, Manifest, media_type};

use super::World;
use crate::places::walk;
use crate::support::registry::signal;
use crate::support::run::{Ran, oci_store};
use crate::support::server::{Server, answer, json};

/// Three parts of a multipart upload.
const LAYER: usize = 24 * 1024 * 1024;
/// How much of it comes before nothing comes any more.
const BEFORE: usize = 20 * 1024 * 1024;
const PIECE: usize = 1024 * 1024;

/// A registry with one image, whose layer never comes whole.
struct Stalling {
    server: Server,
    flows: Arc<AtomicBool>,
}

impl Stalling {
    async fn start() -> Self {
        let (config, layer) = (Bytes::from_static(b"{}"), Bytes::from(vec![b'x'; LAYER]));
        let describe =
            |kind: &str, bytes: &[u8]| Descriptor::new(kind, Algorithm::Sha256.digest(bytes), bytes.len() as u64);
        let layers = [describe("application/vnd.oci.image.layer.v1.tar", &layer)];
        let document = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": describe(media_type::OCI_CONFIG, &config), "layers": layers,
        });
        let manifest = Manifest::parse(document.to_string().into(), Algorithm::Sha256, None).expect("it is one");
        let large = format!("/v2/app/blobs/{}", layers[0].digest);
        let flows = Arc::new(AtomicBool::new(false));
        let all = Arc::clone(&flows);
        let server = Server::start(move |seen, _| match seen.uri.path() {
            "/v2/" => json(200, "{}"),
            path if path.starts_with("/v2/app/manifests/sha256-") => json(404, "{}"),
            path if path.starts_with("/v2/app/manifests/") => {
                answer(200, &[("content-type", manifest.media_type())], manifest.bytes().clone())
            }
            path if path == large => {
                let pieces: Vec<_> =
                    (0..LAYER / PIECE).map(|at| Ok(layer.slice(at * PIECE..(at + 1) * PIECE))).collect();
                let come = if all.load(Ordering::SeqCst) { LAYER } else { BEFORE };
                let body = futures::stream::iter(pieces).take(come / PIECE);
                let body = body.chain(futures::stream::pending::<std::io::Result<Bytes>>());
                answer(200, &[("content-length", &LAYER.to_string())], Body::from_stream(body))
            }
            path if path.starts_with("/v2/app/blobs/") => answer(200, &[], config.clone()),
            _ => json(404, "{}"),
        })
        .await;
        Self { server, flows }
    }

    fn place(&self) -> String {
        format!("docker://{}/app:v1", self.server.address)
    }
}

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a command, sends it what Ctrl-C sends as soon as `is_under_way`, and waits for its end.
fn stopped(command: &mut Command, is_under_way: impl Fn() -> bool) -> Ran {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    until("the copy begins", is_under_way);
    signal(&child, "INT");
    child.wait_with_output().expect("it ends").into()
}

/// Returns what a target keeps of uploads that have not ended.
fn unfinished(world: &World, target: &str) -> Vec<String> {
    match target.split_once("://").expect("a scheme").0 {
        "s3" => Some(world.s3.unfinished_uploads()).filter(|uploads| !uploads.is_empty()).into_iter().collect(),
        kind => {
            let (folder, mark) = if kind == "fs" { ("buckets", "#") } else { ("registry", "/_uploads/") };
            let files = walk(&world.path().join(folder)).into_iter().map(|path| path.display().to_string());
            files.filter(|path| path.contains(mark)).collect()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_copying_leaves_the_old_image_and_nothing_else() {
    let Some(world) = World::new() else { return };
    let source = Stalling::start().await;
    tokio::task::block_in_place(|| {
        let spool = world.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        for target in [world.registry("stopped"), world.bucket("stopped"), "fs://buckets/stopped".to_owned()] {
            let image = world.image(&[1000]);
            let old = world.run(&format!("copy {image} {target}:v1")).digest().to_owned();
            let copy = || {
                let mut command = world.command();
                command.args(["copy", &source.place(), &format!("{target}:v1"), "--spool-dir"]).arg(&spool);
                command
            };
            source.flows.store(false, Ordering::SeqCst);
            let ran = stopped(&mut copy(), || !unfinished(&world, &target).is_empty());
            assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{target}: {ran:#?}");
            assert!(ran.stderr.contains("was interrupted"), "{ran:#?}");
            assert_eq!(world.json(&format!("manifest {target}:v1"))["digest"], old.as_str(), "{target}");
            // Docker's registry keeps an upload of which something has come, whoever says that no more will.
            if !target.starts_with("docker://") {
                assert_eq!(unfinished(&world, &target), [""; 0]);
            }
            assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
            // The same copy again is none the worse for it.
            source.flows.store(true, Ordering::SeqCst);
            assert_ne!(Ran::from(copy().output().unwrap()).digest(), old, "{target}");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_pushing_files_takes_back_what_was_begun() {
    let answers = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&answers);
    let server = Server::start(move |seen, _| match seen.method.as_str() {
        "POST" => answer(202, &[("location", "/v2/app/blobs/uploads/1")], ""),
        "PUT" => {
            tokio::task::block_in_place(|| until("the test ends", || released.load(Ordering::SeqCst)));
            json(201, "")
        }
        "DELETE" => answer(204, &[], ""),
        _ => json(404, "{}"),
    })
    .await;
    tokio::task::block_in_place(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "content").unwrap();
        let mut command = oci_store();
        command.current_dir(folder.path()).args(["artifact", "push", "--plain-http", "-j", "1"]);
        command.arg(format!("{}/app:v1", server.address)).arg("file");
        let is_under_way = || server.seen().iter().any(|seen| seen.method == "PUT");
        let ran = stopped(&mut command, is_under_way);
        answers.store(true, Ordering::SeqCst);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{ran:#?}");
        assert_eq!(server.lines().last().unwrap(), "DELETE /v2/app/blobs/uploads/1");
    });
}
