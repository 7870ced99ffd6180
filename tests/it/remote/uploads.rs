//! Blobs that a registry does not take as they are sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::response::Response;
use futures::StreamExt;
use oci_store::remote::Kind;
use oci_store::transfer::{self, CopyOptions, Reporter, Repository, RepositoryTarget, Source, copy_image};
use storage_layout::{Algorithm, ByteStream, Descriptor, Manifest};

use super::{descriptor, impatient, kind, noise, options, repository, stream};
use crate::support::server::{Seen, Server, answer};

const MIB: usize = 1024 * 1024;

/// A registry that takes uploads, but not every request.
#[derive(Default)]
struct Uploads {
    /// What arrived of the upload that is open.
    open: Vec<u8>,
    /// All that arrived, by digest.
    blobs: BTreeMap<String, Vec<u8>>,
    /// How many pieces came.
    pieces: usize,
}

type Shared = Arc<Mutex<Uploads>>;

/// Starts one. `refuse` answers instead of it where it wants to.
async fn registry(
    refuse: impl Fn(&Seen, &mut Uploads) -> Option<Response> + Send + Sync + 'static,
) -> (Server, Shared) {
    let uploads = Shared::default();
    let state = Arc::clone(&uploads);
    let server = Server::start(move |seen, _| {
        let mut uploads = state.lock().expect("nothing panics while holding it");
        if let Some(refused) = refuse(seen, &mut uploads) {
            return refused;
        }
        let received = |uploads: &Uploads| format!("0-{}", uploads.open.len().saturating_sub(1));
        match seen.method.as_str() {
            "POST" => {
                uploads.open.clear();
                answer(202, &[("location", "/upload?n=0")], "")
            }
            "PATCH" => {
                let start = format!("{}-", uploads.open.len());
                if !seen.header("content-range").is_some_and(|range| range.starts_with(&start)) {
                    return answer(416, &[("range", &received(&uploads))], "");
                }
                uploads.open.extend_from_slice(&seen.body);
                uploads.pieces += 1;
                let location = format!("/upload?n={}", uploads.open.len());
                answer(202, &[("location", &location), ("range", &received(&uploads))], "")
            }
            "GET" => answer(204, &[("location", "/upload?n=asked"), ("range", &received(&uploads))], ""),
            "PUT" => {
                let (_, digest) = seen.uri.query().and_then(|query| query.split_once("digest=")).expect("it ends one");
                let bytes = [std::mem::take(&mut uploads.open), seen.body.to_vec()].concat();
                let digest = digest.replace("%3A", ":");
                if Algorithm::Sha256.digest(&bytes).as_str() != digest {
                    return answer(400, &[], r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#);
                }
                uploads.blobs.insert(digest, bytes);
                answer(201, &[], "")
            }
            "HEAD" => match uploads.blobs.get(seen.uri.path().trim_start_matches("/v2/team/app/blobs/")) {
                Some(blob) => answer(200, &[("content-length", &blob.len().to_string())], ""),
                None => answer(404, &[], ""),
            },
            _ => answer(204, &[], ""),
        }
    })
    .await;
    (server, uploads)
}

/// A source of one blob, below a manifest that nobody asks for.
struct OneBlob {
    manifest: Manifest,
    bytes: Vec<u8>,
    asked: Mutex<usize>,
}

impl OneBlob {
    fn new(bytes: Vec<u8>) -> Self {
        let descriptor = descriptor(&bytes);
        let text = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": descriptor, "layers": [],
        });
        let manifest = Manifest::parse(text.to_string().into(), Algorithm::Sha256, None).expect("it is one");
        Self { manifest, bytes, asked: Mutex::new(0) }
    }
}

#[async_trait::async_trait]
impl Source for OneBlob {
    async fn root(&self) -> Result<Manifest, transfer::Error> {
        Ok(self.manifest.clone())
    }

    async fn manifest(&self, _: &Descriptor) -> Result<Manifest, transfer::Error> {
        Ok(self.manifest.clone())
    }

    async fn blob(&self, _: &Descriptor) -> Result<ByteStream, transfer::Error> {
        *self.asked.lock().expect("nothing panics while holding it") += 1;
        Ok(stream(&self.bytes))
    }
}

/// Copies one blob to a server, and returns how often the source was asked for it.
async fn copy(server: &Server, bytes: Vec<u8>) -> Result<usize, transfer::Error> {
    let source = OneBlob::new(bytes);
    let target = RepositoryTarget::new(Arc::new(repository(&server.address, &options())), None);
    let reporter: Arc<dyn Reporter> = Arc::new(());
    copy_image(&source, &target, &CopyOptions { platforms: Vec::new(), jobs: 1 }, &reporter).await?;
    let asked = *source.asked.lock().expect("nothing panics while holding it");
    Ok(asked)
}

fn is_manifest(seen: &Seen) -> bool {
    seen.uri.path().contains("/manifests/")
}

#[tokio::test]
async fn a_small_blob_is_sent_until_it_arrives() {
    let (server, uploads) =
        registry(|seen, _| (seen.method == "PUT" && seen.before < 4).then(|| answer(503, &[], ""))).await;
    let blob = noise(1000);
    repository(&server.address, &options()).put_blob(&descriptor(&blob), stream(&blob)).await.unwrap();
    assert_eq!(uploads.lock().unwrap().blobs.values().next().unwrap(), &blob);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_looked_for() {
    let (server, _) = registry(|seen, uploads| {
        (seen.method == "PUT").then(|| {
            uploads.blobs.insert(descriptor(&seen.body).digest.to_string(), seen.body.to_vec());
            answer(504, &[], "")
        })
    })
    .await;
    for blob in [noise(1000), noise(5 * MIB)] {
        repository(&server.address, &options()).put_blob(&descriptor(&blob), stream(&blob)).await.unwrap();
    }
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("PUT")).count(), 2);
}

#[tokio::test]
async fn a_large_blob_that_broke_off_is_asked_for_again() {
    let (server, uploads) = registry(|seen, uploads| {
        if is_manifest(seen) {
            return Some(answer(201, &[], ""));
        }
        // The first two come to nothing.
        uploads.pieces += usize::from(seen.method == "PUT");
        (seen.method == "PUT" && uploads.pieces < 3).then(|| answer(502, &[], ""))
    })
    .await;
    let blob = noise(9 * MIB);
    assert_eq!(copy(&server, blob.clone()).await.unwrap(), 3);
    assert_eq!(uploads.lock().unwrap().blobs.values().next().unwrap(), &blob);
    assert_eq!(
        server.lines().iter().filter(|line| line.starts_with("DELETE")).count(),
        2,
        "what broke off is cancelled"
    );
}

#[tokio::test]
async fn a_blob_that_is_too_large_goes_in_pieces() {
    const MOST: usize = 3 * MIB;
    let (server, uploads) = registry(|seen, _| match seen {
        seen if is_manifest(seen) => Some(answer(201, &[], "")),
        seen => (seen.body.len() > MOST).then(|| answer(413, &[], "<html>too large</html>")),
    })
    .await;
    let blob = noise(20 * MIB + 7);
    assert_eq!(copy(&server, blob.clone()).await.unwrap(), 2);
    let uploads = uploads.lock().unwrap();
    assert_eq!(uploads.blobs.values().next().unwrap(), &blob);
    // Pieces of 8 MiB were refused as well, so they are of 2 MiB.
    assert_eq!(uploads.pieces, 11);
    let sizes: Vec<_> =
        server.seen().iter().filter(|seen| seen.method == "PATCH").map(|seen| seen.body.len()).collect();
    assert_eq!(sizes[..2], [8 * MIB, 2 * MIB]);
    assert!(
        server.lines().iter().any(|line| line == "PATCH /upload?n=2097152"),
        "the location of each answer is followed"
    );
}

#[tokio::test]
async fn a_piece_that_was_lost_is_sent_from_where_the_registry_is() {
    let (server, uploads) = registry(|seen, uploads| match (seen.method.as_str(), seen.body.len()) {
        ("PUT", length) if length > 0 => Some(answer(413, &[], "")),
        ("PATCH", length) if uploads.pieces == 1 => {
            // Half of it arrives, and nobody hears of it.
            uploads.open.extend_from_slice(&seen.body[..length / 2]);
            uploads.pieces += 1;
            Some(answer(500, &[], ""))
        }
        _ => None,
    })
    .await;
    let blob = noise(3 * MIB);
    let target = repository(&server.address, &options());
    target.put_blob(&descriptor(&blob), stream(&blob)).await.unwrap();
    let large = noise(20 * MIB);
    target.put_blob(&descriptor(&large), stream(&large)).await.unwrap();
    let uploads = uploads.lock().unwrap();
    assert!(uploads.blobs.values().any(|found| *found == blob) && uploads.blobs.values().any(|found| *found == large));
    assert!(server.lines().iter().any(|line| line.starts_with("PATCH /upload?n=asked")));
}

#[tokio::test]
async fn bytes_that_are_not_the_blob_never_arrive() {
    for size in [1000, 5 * MIB] {
        for in_pieces in [false, true] {
            let (server, uploads) = registry(move |seen, _| {
                (in_pieces && seen.method == "PUT" && !seen.body.is_empty()).then(|| answer(413, &[], ""))
            })
            .await;
            let target = repository(&server.address, &options());
            if in_pieces {
                let first = noise(10);
                target.put_blob(&descriptor(&first), stream(&first)).await.unwrap();
            }
            let blob = noise(size);
            let mut wrong = blob.clone();
            wrong[size / 2] ^= 1;
            let before = uploads.lock().unwrap().blobs.len();
            let long = [blob.clone(), vec![0]].concat();
            for (bytes, says) in [(&wrong[..], "digest"), (&blob[..size - 1], "bytes"), (&long[..], "bytes")] {
                let error = target.put_blob(&descriptor(&blob), stream(bytes)).await.unwrap_err();
                assert!(matches!(error, transfer::Error::Bucket(_)) && error.to_string().contains(says), "{error:?}");
            }
            let broken =
                futures::stream::iter([Ok(blob[..10].to_vec().into()), Err(std::io::Error::other("it broke"))]);
            let error = target.put_blob(&descriptor(&blob), broken.boxed()).await.unwrap_err();
            assert!(matches!(error, transfer::Error::Bucket(storage_layout::Error::Body(_))), "{error:?}");
            assert_eq!(uploads.lock().unwrap().blobs.len(), before);
        }
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_registrys_words() {
    let denied = r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#;
    let (server, _) = registry(move |seen, _| (seen.method == "PUT").then(|| answer(403, &[], denied))).await;
    for size in [10, 5 * MIB] {
        let blob = noise(size);
        let error =
            repository(&server.address, &options()).put_blob(&descriptor(&blob), stream(&blob)).await.unwrap_err();
        assert_eq!(kind(&error), Kind::Credentials);
        assert!(error.to_string().contains("DENIED: quota exceeded"), "{error}");
    }
    let (server, _) = registry(|seen, _| (seen.method != "POST").then(|| answer(413, &[], ""))).await;
    let blob = noise(100);
    let error = repository(&server.address, &options()).put_blob(&descriptor(&blob), stream(&blob)).await.unwrap_err();
    assert_eq!(kind(&error), Kind::TooLarge);
}

#[tokio::test]
async fn what_another_repository_has_is_mounted() {
    let blob = noise(100);
    let (server, _) = registry(|seen, _| {
        let query = seen.uri.query().unwrap_or_default();
        (seen.method == "POST" && query.ends_with("&from=other/app")).then(|| answer(201, &[], ""))
    })
    .await;
    let here = repository(&server.address, &options());
    assert!(!here.has_blob(&descriptor(&blob)).await.unwrap());
    let mounting = here.clone().mounting_from("other/app".parse().unwrap());
    assert!(mounting.has_blob(&descriptor(&blob)).await.unwrap());

    // A registry that does not mount begins an upload, which is then used.
    let (server, uploads) = registry(|_, _| None).await;
    let mounting = repository(&server.address, &options()).mounting_from("other/app".parse().unwrap());
    assert!(!mounting.has_blob(&descriptor(&blob)).await.unwrap());
    mounting.put_blob(&descriptor(&blob), stream(&blob)).await.unwrap();
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("POST")).count(), 1);
    assert_eq!(uploads.lock().unwrap().blobs.len(), 1);
}

#[tokio::test]
async fn an_upload_that_nobody_takes_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let location = format!("http://{}/upload", silent.local_addr().unwrap());
    let (server, _) =
        registry(move |seen, _| (seen.method == "POST").then(|| answer(202, &[("location", &location)], ""))).await;
    let blob = noise(5 * MIB);
    let error =
        repository(&server.address, &impatient()).put_blob(&descriptor(&blob), stream(&blob)).await.unwrap_err();
    assert!(matches!(error, transfer::Error::Interrupted(_)), "{error:?}");
    assert_eq!(kind(&error), Kind::Unavailable);
}
