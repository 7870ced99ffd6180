//! Lists: in pages, in circles, and from elsewhere.

use oci_store::remote::{Error, Kind};
use oci_store::transfer::Repository;
use storage_layout::{Algorithm, Manifest};

use super::{kind, options, registry, remote_error, repository};
use crate::support::run::{oci_store, run};
use crate::support::server::{Server, answer, json};

const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;

#[tokio::test]
async fn a_list_in_pages_is_read_to_its_end() {
    let server = Server::start(|seen, _| match seen.line().as_str() {
        "GET /v2/team/app/tags/list?n=1000" => answer(
            200,
            &[("link", "</v2/team/app/tags/list?n=2&last=b>; rel=\"next\"")],
            r#"{"tags":["z","b","not a tag"]}"#,
        ),
        "GET /v2/team/app/tags/list?n=2&last=b" => {
            answer(200, &[("link", "<list?last=y>; rel=next")], r#"{"tags":["b","y"]}"#)
        }
        "GET /v2/team/app/tags/list?last=y" => json(200, r#"{"tags":null}"#),
        "GET /v2/_catalog?n=1000" => json(200, r#"{"repositories":["b/c","a","UPPER"]}"#),
        other => json(500, other.to_owned()),
    })
    .await;
    let tags = repository(&server.address, &options()).tags().await.unwrap();
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b", "y", "z"]);
    let names = registry(&server.address, &options()).repositories().await.unwrap();
    assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b/c"]);
}

#[tokio::test]
async fn pages_that_go_round_in_a_circle_end() {
    let server = Server::start(|seen, _| {
        let next = if seen.uri.query() == Some("p=1") { "2" } else { "1" };
        answer(200, &[("link", &format!("<?p={next}>; rel=\"next\""))], r#"{"tags":["a"]}"#)
    })
    .await;
    let error = repository(&server.address, &options()).tags().await.unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_never_end_are_not_read_for_ever() {
    // Each page is new, and each has a tag that is new.
    let server = Server::start(|seen, _| {
        let number = seen.before;
        answer(200, &[("link", &format!("<?p={number}>; rel=\"next\""))], format!(r#"{{"tags":["v{number}"]}}"#))
    })
    .await;
    let ran = tokio::task::block_in_place(|| {
        run(oci_store().args(["tags", "--plain-http", &format!("{}/team/app", server.address)]))
    });
    ran.failed(1, "the list has more than 10000 pages");
    assert_eq!(server.seen().len(), 10_000);
}

#[tokio::test]
async fn a_page_elsewhere_is_not_read() {
    let canary = Server::canary().await;
    let link = format!("<http://{}/v2/team/app/tags/list>; rel=\"next\"", canary.address);
    let server = Server::start(move |_, _| answer(200, &[("link", &link)], r#"{"tags":["a"]}"#)).await;
    let error = repository(&server.address, &options()).tags().await.unwrap_err();
    assert!(matches!(remote_error(&error), Error::Untrusted { .. }), "{error:?}");
    assert_eq!(canary.seen().len(), 0);
}

#[tokio::test]
async fn a_list_that_is_none_is_refused() {
    for body in ["", "[]", "<html>", r#"{"tags":"a"}"#, r#"{"tags":[1]}"#] {
        let server = Server::start(move |_, _| json(200, body)).await;
        assert_eq!(kind(&repository(&server.address, &options()).tags().await.unwrap_err()), Kind::Other, "{body}");
    }
    let unknown = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#;
    let server = Server::start(move |_, _| json(404, unknown)).await;
    assert!(repository(&server.address, &options()).tags().await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn referrers_are_read_in_pages_or_else_by_tag() {
    let subject = Algorithm::Sha256.digest(b"subject");
    let entry = |name: &[u8]| {
        let digest = Algorithm::Sha256.digest(name);
        format!(r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1}}"#)
    };
    let index = |entries: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{entries}]}}"#
        )
    };
    let (first, second) = (index(&entry(b"a")), index(&entry(b"b")));
    let server = Server::start(move |seen, _| match seen.uri.query() {
        None => answer(200, &[("link", "<?page=2>; rel=\"next\"")], first.clone()),
        Some(_) => json(200, second.clone()),
    })
    .await;
    assert_eq!(repository(&server.address, &options()).referrers(&subject).await.unwrap().len(), 2);

    let tag = format!("/v2/team/app/manifests/sha256-{}", subject.hex());
    for (status, body) in [(404, "404 page not found"), (405, ""), (400, ""), (406, ""), (200, "{}")] {
        let (tag, listed) = (tag.clone(), index(&entry(b"c")));
        let server = Server::start(
            move |seen, _| if seen.uri.path() == tag { json(200, listed.clone()) } else { json(status, body) },
        )
        .await;
        assert_eq!(repository(&server.address, &options()).referrers(&subject).await.unwrap().len(), 1, "{status}");
    }
    // Neither the list nor the tag: nothing refers to it.
    let server = Server::start(|_, _| json(404, "")).await;
    assert!(repository(&server.address, &options()).referrers(&subject).await.unwrap().is_empty());
    // Not to be allowed to look is not absence.
    let server = Server::start(|_, _| json(403, "")).await;
    assert_eq!(
        kind(&repository(&server.address, &options()).referrers(&subject).await.unwrap_err()),
        Kind::Credentials
    );
}

#[tokio::test]
async fn a_registry_that_keeps_referrers_gets_no_index_of_them() {
    let subject = Algorithm::Sha256.digest(b"subject");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{CONFIG},"layers":[],"subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{subject}","size":7}}}}"#
    );
    let manifest = Manifest::parse(text.into(), Algorithm::Sha256, None).unwrap();
    let server = Server::start(|_, _| answer(201, &[("oci-subject", "x")], "")).await;
    repository(&server.address, &options()).put_manifest(&manifest, &[]).await.unwrap();
    assert_eq!(server.lines(), [format!("PUT /v2/team/app/manifests/{}", manifest.digest())]);
}
