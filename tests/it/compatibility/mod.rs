//! What works where: each cell of `docs/compatibility.md` is tried, and the document is compared with what came of it.

mod daemons;
mod store;
mod stores;
mod table;

use std::path::Path;

/// What stands before the tables.
const INTRODUCTION: &str = "\
# What works where

`tests/it/compatibility` writes this document: it tries every cell with the real program against the real store or daemon, and fails when
what came of it is not what is written here. `UPDATE_DOCS=1 cargo test --test it compatibility` writes it anew.

`pass` means that it was done and that the result was right; a number names a note below the table. `no` is told with its reason,
which is tried as well wherever something refuses.
";

const STORES: &str = "
## Stores

All of them through the command line. The contract of the layout itself (`storage-layout/tests/contract`) runs on all of them too, and
on memory. MinIO, versitygw, Azurite and fake-gcs-server are the programs of those names. \"Google, XML\" is a server in the test that
speaks the calls of Google's XML API which the program makes, since no emulator takes its writes. Docker's registry is Debian's 2.8 on the
folder, MinIO and versitygw, and 3.1.1 on Azurite and fake-gcs-server; it wrote append blobs on Azurite.

";

const DAEMONS: &str = "
## Daemons

A folder is the bucket. \"Registry\" and \"archive\" are the two ways of `--transport`. Docker 20 keeps images in its own store, Docker 28 in
containerd's; Podman is asked by its Docker-compatible socket; the daemon \"far away\" is Docker 20 in a network of its own, as one in a VM
or on another machine is, whose 127.0.0.1 is not ours.

";

#[tokio::test(flavor = "multi_thread")]
async fn the_document_says_what_was_tried() {
    let daemons = tokio::task::spawn_blocking(daemons::table);
    let stores = stores::table().await;
    let (Some(stores), Some(daemons)) = (stores, daemons.await.expect("what panicked is told above")) else { return };
    let document = format!("{INTRODUCTION}{STORES}{stores}{DAEMONS}{daemons}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/compatibility.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, document).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap();
    for (number, (written, found)) in written.lines().zip(document.lines()).enumerate() {
        assert_eq!(written, found, "docs/compatibility.md, line {}: see its first paragraph", number + 1);
    }
    assert_eq!(written.lines().count(), document.lines().count(), "docs/compatibility.md is of another length");
}
