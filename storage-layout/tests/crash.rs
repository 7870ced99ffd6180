//! A process that dies, or whose store fails, at any call of a push or a deletion.
//!
//! Every call is tried as the last one, in every way: so all states that a crash can leave in the bucket are seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use storage_layout::test_util::{
    Failure, Fault, FaultyStore, Image, Stop, Write, artifact, image, image_from, index, noise, pull, push, send,
    snapshot,
};
use storage_layout::{
    Algorithm, Digest, Error, MAX_MANIFEST_SIZE, Reference, Repository, Result, Store, StoreOptions, Tag,
};

/// So small that layers of a few kilobytes come in several parts.
const PART: u64 = 1024;

fn process(objects: Arc<dyn ObjectStore>) -> Repository {
    let options = StoreOptions { part_size: PART, ..StoreOptions::default() };
    Store::new(objects, options).repository(&"team/app".parse().expect("a name"))
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

fn by_tag(text: &str) -> Reference {
    tag(text).into()
}

/// A bucket with two images that a crash must leave alone, and an older one under the tag that is pushed to.
struct Scene {
    objects: InMemory,
    old: Image,
    bystander: Image,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self { objects: InMemory::new(), old: image(1, 3, 2_500), bystander: index(2, 1, 2_500) };
        let repository = process(Arc::new(scene.objects.clone()));
        push(&repository, &scene.old, Some(&tag("latest")), Write::DigestFirst).await.expect("the store works");
        push(&repository, &scene.old, Some(&tag("old")), Write::DigestFirst).await.expect("the store works");
        push(&repository, &scene.bystander, Some(&tag("stable")), Write::DigestLast).await.expect("the store works");
        scene
    }

    /// A copy of the bucket.
    fn fork(&self) -> Arc<InMemory> {
        Arc::new(self.objects.fork())
    }

    /// Checks that every tag that is listed can be pulled whole, and that the bystanders are as they were.
    async fn check_the_rest(&self, repository: &Repository, context: &str) {
        for name in repository.list_tags(None, None).await.expect("the store works").items {
            if let Err(error) = pull(repository, &name.clone().into()).await {
                panic!("{context}: {name} is listed and cannot be pulled: {error:?}");
            }
        }
        let stable = pull(repository, &by_tag("stable")).await;
        assert_eq!(stable.expect("nobody touched it"), self.bystander, "{context}");
        let names = repository.store().repositories().await.expect("the store works");
        assert_eq!(names, [repository.name().clone()], "{context}");
    }
}

/// Runs `work` against a copy of the bucket without faults, and returns how many calls it makes and what it leaves.
async fn undisturbed<F>(scene: &Scene, work: impl Fn(Repository) -> F) -> (u64, BTreeMap<String, Bytes>)
where
    F: Future<Output = Result<()>>,
{
    let objects = scene.fork();
    let counted = Arc::new(FaultyStore::counting(Arc::clone(&objects) as _));
    work(process(Arc::clone(&counted) as _)).await.expect("the store works");
    assert_eq!(counted.unfinished_uploads(), 0);
    (counted.calls(), snapshot(&objects).await)
}

/// Stops `work` at every call in every way and hands the bucket that is left to `check`.
async fn stop_everywhere<F, G>(
    scene: &Scene,
    work: impl Fn(Repository) -> F,
    check: impl Fn(Arc<InMemory>, Stop, String) -> G,
) where
    F: Future<Output = Result<()>>,
    G: Future<Output = ()>,
{
    let (calls, _) = undisturbed(scene, &work).await;
    assert!(calls > 2, "there is little to stop at");
    for number in 0..calls {
        for stop in Stop::ALL {
            let objects = scene.fork();
            let faulty = FaultyStore::stop_at(Arc::clone(&objects) as _, number, stop);
            let result = work(process(Arc::new(faulty))).await;
            let context = format!("stopped at call {number} of {calls}, {stop:?}");
            match result {
                Err(error) => assert!(!error.is_not_found(), "{context}: taken for absence: {error:?}"),
                Ok(()) => panic!("{context}: success was reported"),
            }
            check(objects, stop, context).await;
        }
    }
}

/// A store that is not atomic tears what is written, also what was whole before, such as a link that an image shares with an
/// older one. That is seen to be damage, never taken for something else.
fn is_torn(error: &Error, stop: Stop) -> bool {
    stop == Stop::Torn && matches!(error, Error::Corrupt { key, .. } if key.ends_with("/link"))
}

async fn a_push_stops_anywhere(new: Image, write: Write) {
    let scene = Scene::new().await;
    let work = async |repository: Repository| push(&repository, &new, Some(&tag("latest")), write).await;
    let (_, complete) = undisturbed(&scene, &work).await;
    stop_everywhere(&scene, &work, async |objects, stop, context| {
        let repository = process(Arc::clone(&objects) as _);
        match pull(&repository, &by_tag("latest")).await {
            Ok(found) => assert!(found == scene.old || found == new, "{context}: the tag names a mixture"),
            Err(error) => assert!(is_torn(&error, stop), "{context}: {error:?}"),
        }
        match pull(&repository, &by_tag("old")).await {
            Ok(found) => assert_eq!(found, scene.old, "{context}"),
            Err(error) => assert!(is_torn(&error, stop), "{context}: {error:?}"),
        }
        // Whatever is seen of the new image's manifests is whole.
        for manifest in new.children.iter().chain([&new]) {
            match pull(&repository, &manifest.digest().clone().into()).await {
                Ok(found) => assert_eq!(found, *manifest, "{context}"),
                Err(Error::ManifestUnknown { .. }) => {}
                Err(error) => assert!(is_torn(&error, stop), "{context}: {error:?}"),
            }
        }
        if stop != Stop::Torn {
            scene.check_the_rest(&repository, &context).await;
        }

        let repository = process(Arc::clone(&objects) as _);
        if let Err(error) = push(&repository, &new, Some(&tag("latest")), write).await {
            panic!("{context}: the second push failed: {error:?}");
        }
        assert_eq!(pull(&repository, &by_tag("latest")).await.expect("it was pushed just now"), new, "{context}");
        let keys = snapshot(&objects).await;
        assert!(keys == complete, "{context}: the second push leaves something else than an undisturbed one");
        scene.check_the_rest(&repository, &context).await;
    })
    .await;
}

#[tokio::test]
async fn a_push_with_digests_first_is_all_or_nothing() {
    a_push_stops_anywhere(image(50, 3, 2_500), Write::DigestFirst).await;
}

#[tokio::test]
async fn a_push_with_digests_last_is_all_or_nothing() {
    a_push_stops_anywhere(image(50, 3, 2_500), Write::DigestLast).await;
}

#[tokio::test]
async fn a_push_that_shares_layers_with_the_old_image_is_all_or_nothing() {
    let old = image(1, 3, 2_500);
    let layers = old.blobs[1..3].iter().map(|(_, content)| content.clone()).chain([noise(77, 2_048)]).collect();
    a_push_stops_anywhere(image_from("on top of the old one", layers), Write::DigestFirst).await;
}

#[tokio::test]
async fn a_push_of_an_index_is_all_or_nothing() {
    a_push_stops_anywhere(index(50, 2, 1_500), Write::DigestFirst).await;
}

#[tokio::test]
async fn a_push_of_an_artifact_is_all_or_nothing() {
    a_push_stops_anywhere(artifact(5, &image(1, 3, 2_500).manifest, "application/x-sbom"), Write::DigestLast).await;
}

#[tokio::test]
async fn a_stopped_deletion_of_a_tag_leaves_the_tag_or_removes_it() {
    let scene = Scene::new().await;
    let work = async |repository: Repository| repository.delete_tag(&tag("latest")).await;
    stop_everywhere(&scene, work, async |objects, _, context| {
        let repository = process(Arc::clone(&objects) as _);
        let listed = repository.list_tags(None, None).await.expect("the store works").items.contains(&tag("latest"));
        match pull(&repository, &by_tag("latest")).await {
            Ok(found) => assert!(listed && found == scene.old, "{context}"),
            Err(error) => assert!(!listed && error.is_not_found(), "{context}: {error:?}"),
        }
        let old = pull(&repository, &scene.old.digest().clone().into()).await;
        assert_eq!(old.expect("the manifest stays"), scene.old, "{context}");
        scene.check_the_rest(&repository, &context).await;

        match process(Arc::clone(&objects) as _).delete_tag(&tag("latest")).await {
            Ok(()) => assert!(listed, "{context}"),
            Err(error) => assert!(!listed && error.is_not_found(), "{context}: {error:?}"),
        }
        assert!(pull(&repository, &by_tag("latest")).await.is_err_and(|error| error.is_not_found()), "{context}");
        scene.check_the_rest(&repository, &context).await;
    })
    .await;
}

#[tokio::test]
async fn a_stopped_deletion_of_a_manifest_leaves_no_tag_without_it_and_can_be_repeated() {
    let scene = Scene::new().await;
    let digest = scene.old.digest();
    let work = async |repository: Repository| repository.delete_manifest(digest).await;
    stop_everywhere(&scene, work, async |objects, _, context| {
        let repository = process(Arc::clone(&objects) as _);
        let there = match pull(&repository, &digest.clone().into()).await {
            Ok(found) => found == scene.old,
            Err(error) if error.is_not_found() => false,
            Err(error) => panic!("{context}: {error:?}"),
        };
        for name in ["latest", "old"] {
            match pull(&repository, &by_tag(name)).await {
                Ok(found) => assert!(there && found == scene.old, "{context}: {name} outlives its manifest"),
                Err(error) => assert!(error.is_not_found(), "{context}: {error:?}"),
            }
        }
        scene.check_the_rest(&repository, &context).await;

        match process(Arc::clone(&objects) as _).delete_manifest(digest).await {
            Ok(()) => assert!(there, "{context}"),
            Err(error) => assert!(!there && error.is_not_found(), "{context}: {error:?}"),
        }
        for reference in [by_tag("latest"), by_tag("old"), digest.clone().into()] {
            let result = repository.get_manifest(&reference).await;
            assert!(matches!(result, Err(Error::ManifestUnknown { .. })), "{context}: {result:?}");
        }
        scene.check_the_rest(&repository, &context).await;
    })
    .await;
}

#[tokio::test]
async fn a_stopped_deletion_of_a_referrer_can_be_repeated() {
    let scene = Scene::new().await;
    let (subject, referrer) = (scene.old.digest(), artifact(9, &scene.old.manifest, "application/x-sbom"));
    let repository = process(Arc::new(scene.objects.clone()));
    push(&repository, &referrer, None, Write::DigestFirst).await.expect("the store works");
    let work = async |repository: Repository| repository.delete_manifest(referrer.digest()).await;
    stop_everywhere(&scene, work, async |objects, _, context| {
        let repository = process(Arc::clone(&objects) as _);
        // The entry goes first: what is not listed may be there for a while, but what is listed is there.
        for descriptor in repository.referrers(subject, None).await.expect("the store works") {
            pull(&repository, &descriptor.digest.into()).await.expect("a referrer that is listed can be pulled");
        }
        match process(Arc::clone(&objects) as _).delete_manifest(referrer.digest()).await {
            Ok(()) => {}
            Err(error) => assert!(error.is_not_found(), "{context}: {error:?}"),
        }
        assert_eq!(repository.referrers(subject, None).await.expect("the store works"), [], "{context}");
        let keys = snapshot(&objects).await;
        assert!(!keys.keys().any(|key| key.contains("/_referrers/")), "{context}: the entry was left");
        scene.check_the_rest(&repository, &context).await;
    })
    .await;
}

#[tokio::test]
async fn a_push_survives_one_failure_or_reports_it_and_leaves_no_upload_open() {
    let scene = Scene::new().await;
    let new = image(50, 3, 2_500);
    for write in Write::ALL {
        let work = async |repository: Repository| push(&repository, &new, Some(&tag("latest")), write).await;
        let (calls, complete) = undisturbed(&scene, work).await;
        for number in 0..calls {
            for failure in [Failure::Generic, Failure::PermissionDenied, Failure::Unauthenticated] {
                let context = format!("{write:?}, call {number} failed, {failure:?}");
                let objects = scene.fork();
                let faulty = Arc::new(FaultyStore::new(Arc::clone(&objects) as _, Fault::Error(number, failure)));
                let repository = process(Arc::clone(&faulty) as _);
                let result = work(repository.clone()).await;
                assert!(matches!(result, Err(Error::Store { .. })), "{context}: {result:?}");
                assert_eq!(faulty.unfinished_uploads(), 0, "{context}: an upload was left open");
                let found = pull(&repository, &by_tag("latest")).await.expect("the store works again");
                assert_eq!(found, scene.old, "{context}: the push failed and took effect");
                // The same process tries again.
                work(repository.clone()).await.expect("the store works again");
                assert_eq!(pull(&repository, &by_tag("latest")).await.expect("it was pushed just now"), new);
                assert!(snapshot(&objects).await == complete, "{context}");
            }
        }
    }
}

/// What a question was answered with, for comparison.
type Answer = Result<String>;

fn said<T: std::fmt::Debug>(result: Result<T>) -> Answer {
    result.map(|value| format!("{value:?}"))
}

#[tokio::test]
async fn a_failure_is_never_read_as_absence() {
    async fn ask(question: &str, repository: Repository, image: &Image, subject: &Digest) -> Answer {
        let (layer, digest) = (&image.blobs[1].0.digest, image.digest());
        let elsewhere = repository.store().repository(&"elsewhere".parse()?);
        match question {
            "stat_blob" => said(repository.stat_blob(layer).await),
            "find_blob" => said(repository.find_blob(layer).await),
            // Named by no manifest, so that it is read.
            "stat_blob of a lone one" => said(repository.stat_blob(&Algorithm::Sha256.digest(&noise(60, 3_000))).await),
            "adopt_blob" => said(elsewhere.adopt_blob(layer).await),
            "mount_blob" => said(elsewhere.mount_blob(layer, Some(repository.name())).await),
            "read_blob" => said(repository.read_blob(layer).await),
            "read_small_blob" => said(repository.read_small_blob(layer, MAX_MANIFEST_SIZE).await),
            "pull" => said(pull(&repository, &by_tag("latest")).await.map(|image| image.digest().clone())),
            "resolve" => said(repository.resolve(&by_tag("latest")).await),
            "get by tag" => said(repository.get_manifest(&by_tag("latest")).await.map(|found| found.digest().clone())),
            "get by digest" => {
                said(repository.get_manifest(&digest.clone().into()).await.map(|found| found.digest().clone()))
            }
            "put_manifest" => said(repository.put_manifest(&image.manifest, &[tag("again")]).await),
            "list_tags" => said(repository.list_tags(Some(1), None).await),
            "repositories" => said(repository.store().repositories().await),
            "exists" => said(repository.exists().await),
            "referrers" => said(repository.referrers(subject, None).await),
            "delete_blob" => said(repository.delete_blob(layer).await),
            "delete_tag" => said(repository.delete_tag(&tag("latest")).await),
            "delete_manifest" => said(repository.delete_manifest(digest).await),
            _ => panic!("{question} is no question"),
        }
    }
    let scene = Scene::new().await;
    let repository = process(Arc::new(scene.objects.clone()));
    let referrer = artifact(9, &scene.old.manifest, "application/x-sbom");
    push(&repository, &referrer, None, Write::DigestFirst).await.expect("the store works");
    let lone = noise(60, 3_000);
    send(&repository, &Algorithm::Sha256.digest(&lone), &lone, Write::DigestFirst).await.expect("the store works");
    for question in [
        "stat_blob",
        "stat_blob of a lone one",
        "find_blob",
        "adopt_blob",
        "mount_blob",
        "read_blob",
        "read_small_blob",
        "pull",
        "resolve",
        "get by tag",
        "get by digest",
        "put_manifest",
        "list_tags",
        "repositories",
        "exists",
        "referrers",
        "delete_blob",
        "delete_tag",
        "delete_manifest",
    ] {
        let ask =
            async |objects: Arc<dyn ObjectStore>| ask(question, process(objects), &scene.old, scene.old.digest()).await;
        let counted = Arc::new(FaultyStore::counting(scene.fork()));
        let right = ask(Arc::clone(&counted) as _).await.expect("the store works");
        assert!(counted.calls() > 0, "{question} asks nothing");
        for number in 0..counted.calls() {
            for fault in [
                Fault::Error(number, Failure::Generic),
                Fault::Outage(number, Failure::PermissionDenied),
                Fault::BreakOff(number),
            ] {
                match ask(Arc::new(FaultyStore::new(scene.fork(), fault))).await {
                    Ok(answer) => assert_eq!(answer, right, "{question} with {fault:?}"),
                    Err(Error::Store { .. }) => {}
                    Err(Error::Body(_) | Error::Corrupt { .. }) if matches!(fault, Fault::BreakOff(_)) => {}
                    Err(error) => panic!("{question} with {fault:?}: {error:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn concurrent_pushes_to_one_tag_leave_one_of_them_whole() {
    let scene = Scene::new().await;
    let images: Vec<Image> = (20..24).map(|seed| image(seed, 2, 2_500)).collect();
    // Processes that give way to each other at every call, a different number of times each.
    for round in 0..8 {
        let objects = scene.fork();
        let pushes = images.iter().enumerate().map(|(number, image)| {
            let slow = FaultyStore::counting(Arc::clone(&objects) as _).slowly((number + round) % 4);
            let repository = process(Arc::new(slow));
            async move { push(&repository, image, Some(&tag("latest")), Write::ALL[number % 2]).await }
        });
        futures::future::try_join_all(pushes).await.expect("the store works");
        let repository = process(Arc::clone(&objects) as _);
        let found = pull(&repository, &by_tag("latest")).await.expect("one of them has won");
        assert!(images.contains(&found));
        for image in &images {
            assert_eq!(pull(&repository, &image.digest().clone().into()).await.expect("all were pushed"), *image);
        }
        scene.check_the_rest(&repository, &format!("round {round}")).await;
    }
}

#[tokio::test]
async fn a_blob_whose_sender_goes_away_leaves_nothing() {
    let content = noise(30, 10_000);
    let digest = Algorithm::Sha256.digest(&content);
    let objects = Arc::new(InMemory::new());
    let counted = Arc::new(FaultyStore::counting(Arc::clone(&objects) as _).slowly(1));
    let repository = process(Arc::clone(&counted) as _);
    // Dropped after each number of turns, until it is done first.
    let mut seen_open = BTreeSet::new();
    for turns in 0.. {
        let mut sending = Box::pin(send(&repository, &digest, &content, Write::DigestFirst));
        let mut done = false;
        for _ in 0..turns {
            done = futures::poll!(&mut sending).is_ready();
            if done {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(sending);
        seen_open.insert(counted.unfinished_uploads());
        repository.store().settle().await;
        assert_eq!(counted.unfinished_uploads(), 0, "an upload was left open after {turns} turns");
        if done {
            break;
        }
        assert!(turns < 10_000, "it is never done");
    }
    assert_eq!(seen_open, BTreeSet::from([0, 1]), "nothing was under way when it was dropped");
    assert_eq!(repository.stat_blob(&digest).await.expect("it was sent in the end").size, 10_000);
}
