//! All tags of a repository at once.

use super::World;

#[test]
fn all_tags_of_a_repository_are_copied_and_one_that_fails_keeps_none_back() {
    let Some(world) = World::new() else { return };
    for (tag, size) in [("v1", 1000), ("v2", 2000), ("v3", 3000)] {
        let image = world.image(&[size]);
        world.run(&format!("copy {image} fs://bucket/many:{tag}")).line();
    }
    let target = world.registry("many");
    let copied = world.run(&format!("copy --all-tags fs://bucket/many {target}"));
    assert_eq!(copied.code, Some(0), "{copied:#?}");
    assert_eq!(copied.stdout.lines().count(), 3, "{copied:#?}");
    assert_eq!(world.run(&format!("tags {target}")).stdout, "v1\nv2\nv3\n");
    let digest = |place: &str| world.run(&format!("manifest {place}")).stdout;
    assert_eq!(digest(&format!("{target}:v2")), digest("fs://bucket/many:v2"));
    // One whose layer is gone.
    let lost = world.json("manifest fs://bucket/many:v2")["manifest"]["layers"][0]["digest"].clone();
    std::fs::remove_file(world.blob(lost.as_str().unwrap())).unwrap();
    let partly = world.run("copy --all-tags fs://bucket/many oci-archive:x.tar");
    partly.failed(2, "--all-tags copies from a repository to a repository");
    let partly = world.run(&format!("copy --all-tags fs://bucket/many {}", world.registry("some")));
    assert_eq!((partly.code, partly.stdout.lines().count()), (Some(3), 2), "{partly:#?}");
    assert!(partly.stderr.contains("1 of 3 tags could not be copied"), "{partly:#?}");
    world.run(&format!("copy --all-tags fs://bucket/many:v1 {target}")).failed(2, "names one image");
}

#[test]
fn a_dry_run_of_all_tags_makes_no_folder() {
    let Some(world) = World::new() else { return };
    let image = world.image(&[1000]);
    for tag in ["v1", "v2"] {
        world.run(&format!("copy {image} fs://bucket/many:{tag}")).line();
    }
    let told = world.json("copy --all-tags fs://bucket/many fs://new/many --dry-run");
    assert_eq!(told["images"].as_array().unwrap().len(), 2, "{told:#}");
    assert!(!world.path().join("new").exists());
}
