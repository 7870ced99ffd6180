//! Random histories of two repositories in one bucket, with crashes, against a model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use proptest::prelude::*;
use storage_layout::test_util::{FaultyStore, Image, Stop, Write, image_from, noise, pull, push, snapshot};
use storage_layout::{Error, Reference, Repository, RepositoryName, Store, StoreOptions, Tag};

const REPOSITORIES: [&str; 2] = ["a", "a/b"];
const TAGS: [&str; 3] = ["0.1.2", "0.1.20", "latest"];
const IMAGES: usize = 4;

/// The images share layers.
fn images() -> Vec<Image> {
    let layer = |seed: u64| noise(seed, 1_500);
    (0..IMAGES as u64).map(|n| image_from(&format!("image {n}"), vec![layer(0), layer(n), layer(n / 2)])).collect()
}

#[derive(Clone, Debug)]
enum Action {
    Push { image: usize, tag: Option<usize>, write: Write },
    DeleteTag { tag: usize },
    DeleteManifest { image: usize },
}

#[derive(Clone, Debug)]
struct Step {
    repository: usize,
    action: Action,
    /// The call at which the process dies.
    crash: Option<(u64, Stop)>,
}

fn step() -> impl Strategy<Value = Step> {
    let write = prop::sample::select(Write::ALL.to_vec());
    let action = prop_oneof![
        4 => (0..IMAGES, prop::option::weighted(0.8, 0..TAGS.len()), write)
            .prop_map(|(image, tag, write)| Action::Push { image, tag, write }),
        1 => (0..TAGS.len()).prop_map(|tag| Action::DeleteTag { tag }),
        1 => (0..IMAGES).prop_map(|image| Action::DeleteManifest { image }),
    ];
    // Nothing is torn: the layout relies on stores that write an object whole or not at all.
    let stop = prop::sample::select(vec![Stop::Before, Stop::After]);
    (0..REPOSITORIES.len(), action, prop::option::weighted(0.4, (0u64..30, stop)))
        .prop_map(|(repository, action, crash)| Step { repository, action, crash })
}

/// What a repository is known to have.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    tags: BTreeMap<Tag, usize>,
    manifests: BTreeSet<usize>,
}

impl Model {
    /// Does an action as a whole. Tells whether there was something to do.
    fn apply(&mut self, action: &Action) -> bool {
        match *action {
            Action::Push { image, tag, .. } => {
                self.manifests.insert(image);
                self.tags.extend(tag.map(|tag| (tag_of(tag), image)));
                true
            }
            Action::DeleteTag { tag } => self.tags.remove(&tag_of(tag)).is_some(),
            Action::DeleteManifest { image } => {
                self.tags.retain(|_, named| *named != image);
                self.manifests.remove(&image)
            }
        }
    }

    /// Tells whether `found` may be seen when `action` was cut off: each tag and each manifest is as before or as after, and no
    /// tag names a manifest that is not there.
    fn may_become(&self, after: &Self, found: &Self) -> bool {
        let either = |tag: &Tag| {
            let found = found.tags.get(tag);
            found == self.tags.get(tag) || found == after.tags.get(tag)
        };
        (0..TAGS.len()).all(|tag| either(&tag_of(tag)))
            && found.manifests.is_subset(&self.manifests.union(&after.manifests).copied().collect())
            && found.manifests.is_superset(&self.manifests.intersection(&after.manifests).copied().collect())
            && found.tags.values().all(|image| found.manifests.contains(image))
    }
}

fn tag_of(number: usize) -> Tag {
    TAGS[number].parse().expect("a tag")
}

fn process(objects: Arc<dyn ObjectStore>) -> Store {
    Store::new(objects, StoreOptions { part_size: 512, ..StoreOptions::default() })
}

fn repository(store: &Store, number: usize) -> Repository {
    store.repository(&REPOSITORIES[number].parse().expect("a name"))
}

async fn carry_out(repository: &Repository, action: &Action, images: &[Image]) -> Result<(), Error> {
    match *action {
        Action::Push { image, tag, write } => push(repository, &images[image], tag.map(tag_of).as_ref(), write).await,
        Action::DeleteTag { tag } => repository.delete_tag(&tag_of(tag)).await,
        Action::DeleteManifest { image } => repository.delete_manifest(images[image].digest()).await,
    }
}

/// Looks at everything that clients can see, and checks that all of it is whole.
async fn look(repository: &Repository, images: &[Image]) -> Model {
    let mut found = Model::default();
    for (number, image) in images.iter().enumerate() {
        match pull(repository, &image.digest().clone().into()).await {
            Ok(pulled) => {
                assert_eq!(pulled, *image);
                found.manifests.insert(number);
            }
            Err(Error::ManifestUnknown { .. }) => {}
            Err(error) => panic!("image {number} is there and cannot be pulled: {error:?}"),
        }
    }
    let listed = repository.list_tags(None, None).await.expect("the store works").items;
    for tag in (0..TAGS.len()).map(tag_of) {
        match pull(repository, &Reference::Tag(tag.clone())).await {
            Ok(pulled) => {
                assert!(listed.contains(&tag), "{tag} can be pulled and is not listed");
                let number = images.iter().position(|image| *image == pulled).expect("it is one that was pushed");
                found.tags.insert(tag, number);
            }
            Err(Error::ManifestUnknown { .. }) => assert!(!listed.contains(&tag), "{tag} is listed and names nothing"),
            Err(error) => panic!("{tag} cannot be pulled: {error:?}"),
        }
    }
    found
}

async fn follow(steps: &[Step]) {
    let (images, objects) = (images(), Arc::new(InMemory::new()));
    let mut models = vec![Model::default(); REPOSITORIES.len()];
    // It lives until it crashes, and remembers what it has seen.
    let mut long_lived = process(Arc::clone(&objects) as _);
    for step in steps {
        let mut after = models[step.repository].clone();
        let something = after.apply(&step.action);
        let result = match step.crash {
            None => carry_out(&repository(&long_lived, step.repository), &step.action, &images).await,
            Some((number, stop)) => {
                let dying = process(Arc::new(FaultyStore::stop_at(Arc::clone(&objects) as _, number, stop)));
                carry_out(&repository(&dying, step.repository), &step.action, &images).await
            }
        };
        let fresh = process(Arc::clone(&objects) as _);
        let found = look(&repository(&fresh, step.repository), &images).await;
        match result {
            Ok(()) => assert!(something && found == after, "{step:?} left {found:?}"),
            Err(error) if error.is_not_found() => assert!(!something && found == after, "{step:?}: {error:?}"),
            Err(error) => {
                assert!(step.crash.is_some(), "{step:?}: {error:?}");
                assert!(models[step.repository].may_become(&after, &found), "{step:?} left {found:?}");
                long_lived = fresh.clone();
            }
        }
        models[step.repository] = found;
        for (number, model) in models.iter().enumerate() {
            assert_eq!(look(&repository(&fresh, number), &images).await, *model, "{step:?}");
            assert_eq!(look(&repository(&long_lived, number), &images).await, *model, "{step:?}");
        }
    }

    // Whatever has happened, pushing everything once more gives what it gives in an empty bucket, with some garbage.
    let clean = Arc::new(InMemory::new());
    for objects in [&objects, &clean] {
        let store = process(Arc::clone(objects) as _);
        for number in 0..REPOSITORIES.len() {
            for (image, tag) in images.iter().zip(0..TAGS.len()) {
                push(&repository(&store, number), image, Some(&tag_of(tag)), Write::DigestLast)
                    .await
                    .expect("the store works");
            }
        }
        let names: Vec<String> = REPOSITORIES.iter().map(ToString::to_string).collect();
        let listed = store.repositories().await.expect("the store works");
        assert_eq!(listed.iter().map(RepositoryName::to_string).collect::<Vec<_>>(), names);
    }
    let found = snapshot(&objects).await;
    for (key, content) in snapshot(&clean).await {
        assert_eq!(found.get(&key), Some(&content), "{key}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_any_history_each_visible_tag_resolves_and_verifies(steps in prop::collection::vec(step(), 1..16)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(follow(&steps));
    }
}
