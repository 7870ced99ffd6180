//! Manifests and blobs that do not come as they should.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use oci_store::remote::{Error, Kind};
use oci_store::transfer::Repository;
use storage_layout::{Algorithm, Reference};

use super::{collect, descriptor, impatient, kind, noise, options, remote_error, repository};
use crate::support::server::{Seen, Server, answer, json};

const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// A body that breaks off after `bytes`.
fn cut(bytes: &[u8]) -> Body {
    let pieces = [Ok(Bytes::copy_from_slice(bytes)), Err(std::io::Error::other("cut"))];
    // What was given is sent before the server hears that there is no more.
    let one_by_one = futures::stream::iter(pieces).then(async |piece| {
        tokio::task::yield_now().await;
        piece
    });
    Body::from_stream(one_by_one)
}

/// Where the range that was asked for begins.
fn start(seen: &Seen) -> Option<usize> {
    seen.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// Sends a third of what is left and breaks off.
fn broken(blob: &[u8], from: usize, status: u16, etag: &str) -> Response {
    let length = (blob.len() - from).to_string();
    let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
    let headers = [("content-length", length.as_str()), ("content-range", &range), ("etag", etag)];
    answer(status, &headers, cut(&blob[from..from + (blob.len() - from).div_ceil(3)]))
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_broke() {
    let blob = noise(300_000);
    let bytes = blob.clone();
    let server = Server::start(move |seen, _| match start(seen) {
        None => broken(&bytes, 0, 200, "\"e\""),
        Some(from) if seen.before < 3 => broken(&bytes, from, 206, "\"e\""),
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            answer(206, &[("content-range", &range), ("etag", "\"e\"")], bytes[from..].to_vec())
        }
    })
    .await;
    let found = repository(&server.address, &options()).get_blob(&descriptor(&blob)).await.unwrap();
    assert_eq!(collect(found).await.unwrap(), blob);
    let ranges: Vec<_> = server.seen().iter().map(start).collect();
    assert_eq!(ranges, [None, Some(100_000), Some(166_667), Some(211_112)]);
    assert!(server.seen()[1..].iter().all(|seen| seen.header("if-range") == Some("\"e\"")));
}

#[tokio::test]
async fn a_registry_that_knows_no_ranges_begins_again() {
    let blob = noise(100_000);
    let bytes = blob.clone();
    let server = Server::start(move |seen, _| match seen.before {
        0 => answer(200, &[("content-length", "100000")], cut(&bytes[..70_000])),
        _ => answer(200, &[], bytes.clone()),
    })
    .await;
    let found = repository(&server.address, &options()).get_blob(&descriptor(&blob)).await.unwrap();
    assert_eq!(collect(found).await.unwrap(), blob);
}

#[tokio::test]
async fn parts_of_different_blobs_are_not_put_together() {
    let blob = noise(90_000);
    for (status, etag, range, says) in [
        (200, "\"other\"", None, "it changed while it was read"),
        (206, "\"other\"", Some("bytes 30000-89999/90000"), "it changed while it was read"),
        (206, "\"e\"", Some("bytes 0-89999/90000"), "sent another part"),
        (206, "\"e\"", None, "sent another part"),
    ] {
        let bytes = blob.clone();
        let server = Server::start(move |seen, _| {
            if seen.before == 0 {
                return broken(&bytes, 0, 200, "\"e\"");
            }
            let mut headers = vec![("etag", etag)];
            headers.extend(range.map(|range| ("content-range", range)));
            answer(status, &headers, bytes[30_000..].to_vec())
        })
        .await;
        let found = repository(&server.address, &options()).get_blob(&descriptor(&blob)).await.unwrap();
        let error = collect(found).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_download_that_always_breaks_is_given_up() {
    let blob = noise(1000);
    let bytes = blob.clone();
    let server = Server::start(move |seen, _| match start(seen) {
        Some(from) => {
            let range = format!("bytes {from}-999/1000");
            answer(206, &[("content-range", &range), ("content-length", &(1000 - from).to_string())], cut(b""))
        }
        None => answer(200, &[("content-length", "1000")], cut(&bytes[..10])),
    })
    .await;
    let found = repository(&server.address, &options()).get_blob(&descriptor(&blob)).await.unwrap();
    let error = collect(found).await.unwrap_err();
    let error: &Error = error.get_ref().unwrap().downcast_ref().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(server.seen().len(), 1 + options().retries as usize);
}

#[tokio::test]
async fn a_blob_of_another_length_is_damaged() {
    let blob = noise(1000);
    let bytes = blob.clone();
    let server = Server::start(move |_, _| answer(200, &[], bytes[..999].to_vec())).await;
    let error = repository(&server.address, &options()).get_blob(&descriptor(&blob)).await.err().unwrap();
    assert_eq!(kind(&error), Kind::Integrity);
    assert!(error.to_string().contains("it has 999 bytes, not 1000"), "{error}");

    let bytes = blob.clone();
    let server = Server::start(move |_, _| {
        let long = [bytes.clone(), bytes.clone()].concat();
        answer(200, &[], Body::from_stream(futures::stream::iter([Ok::<_, std::io::Error>(long)])))
    })
    .await;
    let found = repository(&server.address, &options()).get_blob(&descriptor(&blob)).await.unwrap();
    assert!(collect(found).await.unwrap_err().to_string().contains("more than 1000 bytes"));
}

#[tokio::test]
async fn a_manifest_is_what_its_digest_says() {
    let digest = Algorithm::Sha256.digest(INDEX.as_bytes());
    let other = Algorithm::Sha256.digest(b"other");
    let claimed = other.to_string();
    let server = Server::start(move |seen, _| match seen.uri.path() {
        "/v2/team/app/manifests/lying" => answer(200, &[("docker-content-digest", &claimed)], INDEX),
        "/v2/team/app/manifests/long" => answer(200, &[], vec![b' '; 4 * 1024 * 1024 + 1]),
        "/v2/team/app/manifests/type" => {
            answer(200, &[("content-type", "application/vnd.oci.image.manifest.v1+json")], INDEX)
        }
        "/v2/team/app/manifests/old" => answer(
            200,
            &[("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws")],
            r#"{"schemaVersion":1}"#,
        ),
        _ => answer(200, &[("content-type", "application/vnd.oci.image.index.v1+json; charset=utf-8")], INDEX),
    })
    .await;
    let repository = repository(&server.address, &options());
    for good in [Reference::Tag("v1".parse().unwrap()), Reference::Digest(digest)] {
        assert_eq!(repository.get_manifest(&good).await.unwrap().bytes(), INDEX.as_bytes());
    }
    for (bad, says) in [
        (Reference::Digest(other), "the content has digest sha256:"),
        (Reference::Tag("lying".parse().unwrap()), "the content has digest sha256:"),
        (Reference::Tag("long".parse().unwrap()), "longer than 4194304 bytes"),
        (Reference::Tag("type".parse().unwrap()), "calls itself"),
        (Reference::Tag("old".parse().unwrap()), "schemaVersion is not 2"),
    ] {
        let error = repository.get_manifest(&bad).await.unwrap_err();
        assert_eq!(kind(&error), Kind::Integrity, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_manifest_that_is_cut_off_is_read_again() {
    let server = Server::start(|seen, _| match seen.before {
        0 => answer(200, &[("content-length", "90")], cut(&INDEX.as_bytes()[..20])),
        1 => answer(503, &[], ""),
        2 => answer(429, &[("retry-after", "0")], ""),
        _ => json(200, INDEX),
    })
    .await;
    let reference = Reference::Tag("v1".parse().unwrap());
    repository(&server.address, &options()).get_manifest(&reference).await.unwrap();
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_registry_that_never_has_time_is_unavailable() {
    let too_many = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"},{"code":"X","detail":{"left":0}}]}"#;
    let server = Server::start(move |_, _| json(503, too_many)).await;
    let error = repository(&server.address, &options()).tags().await.unwrap_err();
    assert_eq!(kind(&error), Kind::Unavailable);
    assert!(error.to_string().contains(r#"TOOMANYREQUESTS: slow down; X ({"left":0})"#), "{error}");
    assert_eq!(server.seen().len(), 1 + options().retries as usize);

    // Nobody waits for an hour.
    let server = Server::start(move |_, _| answer(429, &[("retry-after", "3600")], too_many)).await;
    let error = repository(&server.address, &options()).tags().await.unwrap_err();
    assert_eq!(kind(&error), Kind::Unavailable);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn all_that_a_registry_says_is_told() {
    for (status, body, kind, says) in [
        (
            404,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such","detail":{"Tag":"v1"}}]}"#,
            None,
            r#"MANIFEST_UNKNOWN: no such ({"Tag":"v1"})"#,
        ),
        (
            403,
            r#"{"errors":[{"code":"DENIED","message":"a"},{"code":"","message":"b","detail":"c"}]}"#,
            Some(Kind::Credentials),
            "DENIED: a; b (c)",
        ),
        (400, "plain  \n text", Some(Kind::Other), "answered 400: plain text"),
        (400, "<html><body>Go away</body></html>", Some(Kind::Other), "answered 400"),
        (418, "\u{1b}[31m", Some(Kind::Other), "answered 418"),
    ] {
        let server = Server::start(move |_, _| json(status, body)).await;
        let reference = Reference::Tag("v1".parse().unwrap());
        let error = repository(&server.address, &options()).get_manifest(&reference).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.to_string().contains("tag v1 of 127.0.0.1:"), "{error}");
        match kind {
            None => assert!(error.is_not_found()),
            Some(kind) => assert_eq!(remote_error(&error).kind(), kind),
        }
    }
}

#[tokio::test]
async fn a_registry_that_falls_silent_is_not_waited_for() {
    // It takes connections and nothing else.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = repository(&silent.local_addr().unwrap().to_string(), &impatient()).tags().await.unwrap_err();
    assert_eq!(kind(&error), Kind::Unavailable);
    assert!(error.to_string().contains("cannot be reached"), "{error}");

    let blob = noise(1000);
    let server = Server::start(|_, _| {
        let some = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"some"))]);
        answer(200, &[("content-length", "1000")], Body::from_stream(some.chain(futures::stream::pending())))
    })
    .await;
    let found = repository(&server.address, &impatient()).get_blob(&descriptor(&blob)).await.unwrap();
    let error = collect(found).await.unwrap_err();
    let error: &Error = error.get_ref().unwrap().downcast_ref().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
}
