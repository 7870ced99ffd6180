//! Blobs that the bucket has: read, mounted, adopted, mended.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use oci_store::registry::Access;
use storage_layout::Key;

use super::{Content, Registry, check, content, open, read_only, row, sha256};

#[tokio::test]
async fn blobs_are_read() {
    let Content { layer, layer_digest, elsewhere, .. } = content();
    let blob = format!("/v2/app/blobs/{layer_digest}");
    let part = |fact, range: &str, from: usize, to: usize| {
        row(fact, "GET", &blob, 206)
            .with("range", range)
            .header("content-range", format!("bytes {from}-{}/2000", to - 1))
            .header("content-length", to - from)
            .content(layer.slice(from..to))
    };
    let whole = |fact, range: &str| {
        row(fact, "GET", &blob, 200).with("range", range).without("content-range").content(layer.clone())
    };
    let beyond =
        |fact, range: &str| row(fact, "GET", &blob, 416).with("range", range).header("content-range", "bytes */2000");
    check([
        row("a blob is sent whole", "GET", &blob, 200)
            .header("content-type", "application/octet-stream")
            .header("content-length", 2000)
            .header("accept-ranges", "bytes")
            .header("docker-content-digest", &layer_digest)
            .content(layer.clone()),
        row("HEAD of a blob has its length", "HEAD", &blob, 200)
            .header("content-length", 2000)
            .header("docker-content-digest", &layer_digest)
            .content(""),
        row("a digest may be percent-encoded", "HEAD", blob.replace(':', "%3A"), 200),
        row(
            "HEAD of a blob of another repository is 404",
            "HEAD",
            format!("/v2/app/blobs/{}", sha256(&elsewhere)),
            404,
        ),
        part("a part is sent", "bytes=500-1499", 500, 1500),
        part("a download goes on where it stopped", "bytes=500-", 500, 2000),
        part("the end is sent", "bytes=-500", 1500, 2000),
        part("a part ends with the blob", "bytes=1000-5000", 1000, 2000),
        part("the part is the whole", "bytes=0-", 0, 2000),
        part("the part is one byte", "bytes=0-0", 0, 1),
        part("a part of the same blob is sent", "bytes=1-2", 1, 3).with("if-range", format!("\"{layer_digest}\"")),
        whole("several ranges mean the whole", "bytes=0-1,5-6"),
        whole("a unit that is not known means the whole", "lines=0-1"),
        whole("junk means the whole", "bytes=x"),
        whole("a part of another blob means the whole", "bytes=1-2").with("if-range", "\"x\""),
        beyond("a part behind the end is refused", "bytes=2000-"),
        beyond("a part that ends before it begins is refused", "bytes=500-0"),
        beyond("a part of no bytes is refused", "bytes=-0"),
    ])
    .await;
}

#[tokio::test]
async fn a_blob_is_mounted() {
    let digest = sha256(&content().elsewhere);
    let one = Access { repository: Some("app".parse().expect("a name")), ..open() };
    for (access, from) in [
        (open(), "&from=team/other"),
        (open(), "&from=app"),
        (open(), "&from=No"),
        (open(), ""),
        (one.clone(), "&from=old/name"),
    ] {
        let registry = Registry::filled(access).await;
        let answer = registry.ask("POST", &format!("/v2/app/blobs/uploads/?mount={digest}{from}")).await;
        assert_eq!((answer.status, answer.location()), (201, format!("/v2/app/blobs/{digest}").as_str()), "{from}");
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        assert_eq!(registry.ask("GET", answer.location()).await.body, Ok(content().elsewhere), "{from}");
    }
    let registry = Registry::filled(open()).await;
    let absent = sha256(b"never pushed");
    let answer = registry.ask("POST", &format!("/v2/app/blobs/uploads/?mount={absent}&from=app")).await;
    assert_eq!(answer.status, 202, "what cannot be mounted is uploaded");
    let path = format!("{}?digest={absent}", answer.location());
    let answer = registry.send("PUT", &path, &[], Body::from("never pushed"));
    assert_eq!(answer.await.status, 201);
}

#[tokio::test]
async fn a_blob_that_is_elsewhere_is_adopted_where_that_is_wanted() {
    let (digest, filled) = (sha256(&content().elsewhere), Registry::filled(open()).await);
    let path = format!("/v2/app/blobs/{digest}");
    for (access, adopt, status) in [(open(), false, 404), (read_only(), true, 404), (open(), true, 200)] {
        let registry = Registry::over(Arc::clone(&filled.objects), Arc::clone(&filled.objects) as _, access, adopt);
        let answer = registry.ask("HEAD", &path).await;
        assert_eq!(answer.status, status);
        assert_eq!(registry.ask("GET", &path).await.status, status, "what was answered for is there");
    }
}

#[tokio::test]
async fn a_damaged_blob_breaks_off_and_is_mended_by_the_next_push() {
    let Content { layer, layer_digest, .. } = content();
    let path = format!("/v2/app/blobs/{layer_digest}");
    let key = Key::BlobData(layer_digest.clone()).path();
    let mut flipped = layer.to_vec();
    flipped[1999] ^= 1;
    for (damaged, head) in [(Bytes::from(flipped), 200), (layer.slice(..1000), 404), (Bytes::new(), 404)] {
        let registry = Registry::filled(open()).await;
        registry.objects.put(&key, damaged.clone().into()).await.expect("memory takes everything");
        assert_eq!(registry.ask("HEAD", &path).await.status, head, "{} bytes", damaged.len());
        let answer = registry.ask("GET", &path).await;
        if answer.status == 200 {
            assert!(answer.body.is_err(), "damaged bytes came to their end");
            registry.journal.failed().await;
            assert!(registry.journal.failure().expect("it is noted").to_string().contains("damaged"));
        }
        let location = registry.begin("").await;
        let put = format!("{location}?digest={layer_digest}");
        let answer = registry.send("PUT", &put, &[], Body::from(layer.clone()));
        assert_eq!(answer.await.status, 201);
        assert_eq!(registry.ask("GET", &path).await.body, Ok(layer.clone()));
    }
}
