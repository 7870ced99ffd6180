//! Uploads: every way to send a blob, and every way for that to go wrong.

use std::io;

use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use futures::StreamExt;
use storage_layout::Algorithm;
use storage_layout::test_util::{noise, snapshot};
use tower::ServiceExt;

use super::{Registry, content, open, sha256};

#[tokio::test]
async fn a_blob_is_pushed_in_every_way() {
    let blob = noise(5, 3000);
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = algorithm.digest(&blob);
        let hint = format!("?digest-algorithm={algorithm}");
        let put = format!("?digest={digest}");
        for way in ["at once", "put", "chunks", "chunks and put", "stream"] {
            let registry = Registry::empty();
            let chunk = |from: usize, to: usize| (format!("{from}-{}", to - 1), Body::from(blob.slice(from..to)));
            let mut answer = match way {
                "at once" => {
                    let path = format!("/v2/app/blobs/uploads/{put}");
                    registry.send("POST", &path, &[("content-length", "3000")], Body::from(blob.clone())).await
                }
                "put" => {
                    let path = registry.begin(&hint).await + &put;
                    registry.send("PUT", &path, &[("content-length", "3000")], Body::from(blob.clone())).await
                }
                "stream" => {
                    let path = registry.begin(&hint).await;
                    let pieces: Vec<io::Result<Bytes>> =
                        blob.chunks(700).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
                    let body = Body::from_stream(futures::stream::iter(pieces));
                    registry.send("PATCH", &path, &[], body).await
                }
                _ => {
                    let path = registry.begin(&hint).await;
                    let (range, body) = chunk(0, 1000);
                    let answer = registry.send("PATCH", &path, &[("content-range", &range)], body).await;
                    assert_eq!((answer.status, answer.header("range")), (202, Some("0-999")), "{way}");
                    let (range, body) = chunk(1000, 3000);
                    let last = [("content-range", range.as_str()), ("content-length", "2000")];
                    if way == "chunks" {
                        registry.send("PATCH", answer.location(), &last, body).await
                    } else {
                        registry.send("PUT", &(answer.location().to_owned() + &put), &last, body).await
                    }
                }
            };
            if answer.status == 202 {
                // Docker takes the layer's size from this header, so there is no unit in it.
                assert_eq!(answer.header("range"), Some("0-2999"), "{way}");
                assert!(answer.header("docker-upload-uuid").is_some_and(|id| answer.location().ends_with(id)));
                answer = registry.ask("PUT", &(answer.location().to_owned() + &put)).await;
            }
            assert_eq!(answer.status, 201, "{way}: {answer:?}");
            assert_eq!(answer.location(), format!("/v2/app/blobs/{digest}"), "{way}");
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()), "{way}");
            assert_eq!(registry.ask("GET", answer.location()).await.body, Ok(blob.clone()), "{way}");
            assert_eq!(registry.journal.sent(), [digest.clone()].into(), "{way}");
            assert_eq!(registry.journal.bytes_sent(), 3000, "{way}");
        }
    }
}

#[tokio::test]
async fn the_empty_blob_is_pushed() {
    let nothing = sha256(b"");
    for patch in [false, true] {
        let registry = Registry::empty();
        let location = registry.begin("").await;
        if patch {
            assert_eq!(registry.ask("PATCH", &location).await.header("range"), Some("0-0"));
        }
        let answer = registry.ask("PUT", &format!("{location}?digest={nothing}")).await;
        assert_eq!(answer.status, 201);
        let answer = registry.ask("GET", answer.location()).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
        assert_eq!(answer.body, Ok(Bytes::new()));
    }
}

#[tokio::test]
async fn an_upload_is_never_created_by_a_post_that_names_nothing() {
    // 201 crashes Docker's daemon, or makes it lose the blob.
    let registry = Registry::filled(open()).await;
    let present = content().layer_digest;
    for query in ["", "?digest-algorithm=sha256", "?from=team/other", &format!("?digest={present}")] {
        let path = format!("/v2/app/blobs/uploads/{query}");
        let answer = registry.send("POST", &path, &[("content-length", "0")], Body::empty());
        assert_eq!(answer.await.status, 202, "{query}");
    }
}

#[tokio::test]
async fn a_chunk_out_of_order_is_refused_and_the_upload_goes_on() {
    let (registry, blob) = (Registry::empty(), noise(6, 300));
    let location = registry.begin("").await;
    let send = async |method: &str, path: &str, from: usize, to: usize| {
        let range = format!("{from}-{}", to - 1);
        registry.send(method, path, &[("content-range", &range)], Body::from(blob.slice(from..to))).await
    };
    let put = format!("{location}?digest={}", sha256(&blob));
    assert_eq!(send("PATCH", &location, 0, 100).await.status, 202);
    for (method, path, from) in [("PATCH", &location, 200), ("PATCH", &location, 0), ("PUT", &put, 200)] {
        let answer = send(method, path, from, 300).await;
        assert_eq!((answer.status, answer.header("range")), (416, Some("0-99")));
        let answer = registry.ask("GET", answer.location()).await;
        assert_eq!((answer.status, answer.header("range"), answer.location()), (204, Some("0-99"), location.as_str()));
    }
    let disagreeing = [("content-range", "100-199"), ("content-length", "7")];
    assert_eq!(registry.send("PATCH", &location, &disagreeing, Body::from("content")).await.code(), "SIZE_INVALID");
    assert_eq!(send("PATCH", &location, 100, 200).await.status, 202);
    assert_eq!(send("PUT", &put, 200, 300).await.status, 201);
}

#[tokio::test]
async fn content_with_another_digest_is_never_seen() {
    let wrong = sha256(b"promised");
    for patch in [false, true] {
        let registry = Registry::empty();
        let location = registry.begin("").await;
        let mut body = Body::from("sent");
        if patch {
            assert_eq!(registry.send("PATCH", &location, &[], std::mem::take(&mut body)).await.status, 202);
        }
        let answer = registry.send("PUT", &format!("{location}?digest={wrong}"), &[], body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
        assert_eq!(registry.ask("PUT", &format!("{location}?digest={wrong}")).await.status, 404);
        assert!(snapshot(&*registry.objects).await.is_empty());
        assert!(registry.journal.sent().is_empty() && registry.journal.failure().is_none());
    }
}

#[tokio::test]
async fn an_upload_ends_with_a_digest() {
    let registry = Registry::empty();
    let location = registry.begin("").await;
    for query in ["", "?digest=", "?digest=sha256:x"] {
        assert_eq!(registry.ask("PUT", &format!("{location}{query}")).await.code(), "DIGEST_INVALID");
    }
    assert_eq!(registry.ask("GET", &location).await.status, 204);
}

#[tokio::test]
async fn a_body_that_breaks_off_ends_the_upload() {
    let blob = b"begun";
    for method in ["PATCH", "PUT"] {
        let registry = Registry::empty();
        let location = registry.begin("").await;
        let broken = futures::stream::iter([Ok(Bytes::from_static(blob)), Err(io::Error::other("unexpected EOF"))]);
        let path = format!("{location}?digest={}", sha256(blob));
        let answer = registry.send(method, &path, &[], Body::from_stream(broken)).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "BLOB_UPLOAD_INVALID"));
        assert_eq!(registry.ask("GET", &location).await.status, 404, "{method}");
        assert!(snapshot(&*registry.objects).await.is_empty());
        assert!(registry.journal.failure().is_none(), "the client failed, not the bucket");
    }
}

#[tokio::test]
async fn two_requests_never_write_to_one_upload() {
    let registry = Registry::empty();
    let location = registry.begin("").await;
    let request = Request::builder().method("PATCH").uri(&location).header("host", "127.0.0.1:5000");
    let first = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"a"))]).chain(futures::stream::pending());
    let request = request.body(Body::from_stream(first)).expect("it is a request");
    let slow = tokio::spawn(registry.router.clone().oneshot(request));
    tokio::task::yield_now().await;
    for method in ["PATCH", "GET"] {
        let answer = registry.send(method, &location, &[], Body::from("b")).await;
        assert_eq!((answer.status, answer.code().as_str()), (409, "BLOB_UPLOAD_INVALID"));
    }
    // The client goes away.
    slow.abort();
    assert!(slow.await.is_err());
    assert_eq!(registry.ask("GET", &location).await.status, 404);
}

#[tokio::test]
async fn an_upload_is_cancelled() {
    let registry = Registry::empty();
    let location = registry.begin("").await;
    assert_eq!(registry.ask("DELETE", &location).await.status, 204);
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(registry.ask(method, &location).await.code(), "BLOB_UPLOAD_UNKNOWN");
    }
}
