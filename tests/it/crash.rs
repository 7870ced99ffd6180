//! Docker's push, request by request, stopped at every call to the store.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use oci_store::registry::{Access, Journal, RegistryOptions, router};
use storage_layout::test_util::{FaultyStore, Image, Stop, docker_image, pull, snapshot};
use storage_layout::{Error, Reference, RepositoryName, Store, StoreOptions, Tag};
use tower::ServiceExt;

fn registry(objects: Arc<dyn ObjectStore>) -> Router {
    let access = Access { token: None, port: 5000, repository: None, read_only: false };
    let (passes, reporter, journal) = (oci_store::backend::passes, Arc::new(()), Arc::new(Journal::default()));
    let options = RegistryOptions { access, adopt_blobs: true, passes, reporter, journal };
    router(Store::new(objects, StoreOptions::default()), options)
}

async fn ask(router: &Router, method: &str, path: &str, body: Body) -> Result<axum::response::Response, StatusCode> {
    let request =
        Request::builder().method(method).uri(path).header("Host", "127.0.0.1:5000").body(body).expect("a request");
    let response = router.clone().oneshot(request).await.expect("the router always answers");
    if response.status().is_server_error() { Err(response.status()) } else { Ok(response) }
}

/// What the classic daemon does: for each layer and the config HEAD, POST, PATCH, PUT and HEAD again; then the manifest.
async fn docker_push(router: &Router, image: &Image) -> Result<(), StatusCode> {
    for (descriptor, bytes) in &image.blobs {
        let blob = format!("/v2/app/blobs/{}", descriptor.digest);
        if ask(router, "HEAD", &blob, Body::empty()).await?.status() == StatusCode::OK {
            continue;
        }
        let begun = ask(router, "POST", "/v2/app/blobs/uploads/", Body::empty()).await?;
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        let location = begun.headers()["location"].to_str().expect("text").to_owned();
        let patched = ask(router, "PATCH", &location, Body::from(bytes.clone())).await?;
        assert_eq!(patched.status(), StatusCode::ACCEPTED);
        assert_eq!(patched.headers()["range"].to_str().expect("text"), format!("0-{}", bytes.len() - 1));
        let location = patched.headers()["location"].to_str().expect("text");
        let joint = if location.contains('?') { '&' } else { '?' };
        let put = ask(router, "PUT", &format!("{location}{joint}digest={}", descriptor.digest), Body::empty()).await?;
        assert_eq!(put.status(), StatusCode::CREATED);
        assert_eq!(ask(router, "HEAD", &blob, Body::empty()).await?.status(), StatusCode::OK);
    }
    let body = Body::from(image.manifest.bytes().clone());
    let request = Request::builder().method("PUT").uri("/v2/app/manifests/v1").header("Host", "127.0.0.1:5000");
    let request = request.header("Content-Type", image.manifest.media_type()).body(body).expect("a request");
    let put = router.clone().oneshot(request).await.expect("the router always answers");
    if put.status() == StatusCode::CREATED { Ok(()) } else { Err(put.status()) }
}

#[tokio::test]
async fn a_push_stopped_at_any_call_leaves_the_old_image_or_the_new_one() {
    let (old, new) = (docker_image(1, 2, 1000), docker_image(2, 3, 1000));
    let (name, tag): (RepositoryName, Tag) = ("app".parse().unwrap(), "v1".parse().unwrap());
    let base = InMemory::new();
    docker_push(&registry(Arc::new(base.clone())), &old).await.unwrap();

    let counting = Arc::new(FaultyStore::counting(Arc::new(base.fork())));
    docker_push(&registry(Arc::clone(&counting) as Arc<dyn ObjectStore>), &new).await.unwrap();
    let calls = counting.calls();
    assert!(calls > 20, "only {calls} calls");
    let whole = base.fork();
    docker_push(&registry(Arc::new(whole.clone())), &new).await.unwrap();
    let whole = snapshot(&whole).await;

    for call in 0..calls {
        for stop in [Stop::Before, Stop::After, Stop::Torn] {
            let inner: Arc<dyn ObjectStore> = Arc::new(base.fork());
            let dying = registry(Arc::new(FaultyStore::stop_at(Arc::clone(&inner), call, stop)));
            // The last call's answer may be lost after all was done.
            let pushed = docker_push(&dying, &new).await;
            drop(dying);
            let store = Store::new(Arc::clone(&inner), StoreOptions::default());
            let found = pull(&store.repository(&name), &Reference::Tag(tag.clone())).await;
            match found {
                Ok(found) => {
                    assert!(found == old || found == new, "call {call} {stop:?}");
                    assert!(pushed.is_err() || found == new, "call {call} {stop:?}: reported done, and is not");
                }
                // A store that tears what it writes at the very moment of the commit: that is told, and no image is mixed.
                Err(Error::Corrupt { key, .. }) if stop == Stop::Torn => {
                    assert!(key.ends_with("tags/v1/current/link"), "{key}");
                }
                Err(error) => panic!("call {call} {stop:?}: {error}"),
            }
            docker_push(&registry(Arc::clone(&inner)), &new)
                .await
                .unwrap_or_else(|status| panic!("the push again after call {call} {stop:?} failed: {status}"));
            assert_eq!(snapshot(inner.as_ref()).await, whole, "call {call} {stop:?}");
        }
    }
}
