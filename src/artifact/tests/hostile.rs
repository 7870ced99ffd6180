//! Archives and titles that would do harm. The tars are written byte by byte: no library would.

use std::io::Write;
use std::path::PathBuf;

use super::*;

/// One entry of a tar, whatever its header says.
fn entry(flag: u8, name: &str, link: &str, mode: u32, stated: u64, data: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{stated:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    block[156] = flag;
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.extend_from_slice(data);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn file(name: &str) -> Vec<u8> {
    entry(b'0', name, "", 0o644, 3, b"bad")
}

fn link(name: &str, target: &str) -> Vec<u8> {
    entry(b'2', name, target, 0o777, 0, b"")
}

fn hard(name: &str, target: &str) -> Vec<u8> {
    entry(b'1', name, target, 0o644, 0, b"")
}

fn folder(name: &str) -> Vec<u8> {
    entry(b'5', name, "", 0o755, 0, b"")
}

fn pax(record: &str) -> Vec<u8> {
    let length = record.len() + 4;
    let data = format!("{length} {record}\n");
    assert_eq!(data.len(), length, "two digits");
    entry(b'x', "x", "", 0, length as u64, data.as_bytes())
}

fn end() -> Vec<u8> {
    vec![0; 1024]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder with an output folder in it and something beside it.
struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        fs::write(dir.path().join("canary"), "as it was").unwrap();
        fs::write(dir.path().join("out/old"), "as it was").unwrap();
        Self { dir }
    }

    fn output(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Demands that an artifact is refused for a reason, and that nothing is changed by it.
    async fn refuses(&self, what: &str, layers: &[(Vec<u8>, Value)], says: &str) {
        let repository = repository();
        let manifest = artifact(&repository, "a/b", layers).await;
        let before = contents(self.dir.path());
        let error = match pull(&repository, &manifest, &self.output(), false).await {
            Err(error @ Error::Invalid(_)) => error.to_string(),
            other => panic!("{what}: {other:?}"),
        };
        assert!(error.contains(says), "{what}: {error}");
        assert!(!error.contains(char::is_control), "{what}: {error:?}");
        assert_eq!(contents(self.dir.path()), before, "{what}");
    }
}

fn boxed(entries: &[Vec<u8>]) -> Vec<(Vec<u8>, Value)> {
    vec![(gzip(&entries.concat()), json!({TITLE: "box", UNPACK: "true"}))]
}

#[tokio::test]
async fn archives_that_lead_out_are_refused_whole_and_by_name() {
    let sandbox = Sandbox::new();
    let canary = sandbox.dir.path().join("canary").display().to_string();
    let long = format!("box/{}", "d/".repeat(47));
    for (what, entries, says) in [
        ("up", vec![file("box/../../canary")], "\"box/../../canary\" leads out of its folder"),
        ("up at once", vec![file("../canary")], "\"../canary\" leads out"),
        ("beside its folder", vec![file("canary")], "\"canary\" is not in the folder"),
        ("absolute", vec![file(&canary)], "is an absolute path"),
        (
            "absolute by an extension",
            vec![pax("path=/etc/passwd"), file("box/x")],
            "\"/etc/passwd\" is an absolute path",
        ),
        ("a file through a link", vec![link("box/l", "sub"), file("box/l/x")], "\"box/l\" is there twice"),
        ("a link to an absolute path", vec![link("box/l", "/etc")], "\"box/l\" is a link to an absolute path"),
        ("a link out", vec![link("box/l", "../..")], "\"box/l\" is a link out of its folder"),
        ("a link out of its folder only", vec![link("box/l", "..")], "is a link out"),
        ("a chain", vec![link("box/a", "b/.."), link("box/b", "c")], "\"box/a\" is a link that goes down and up"),
        ("a chain by a dot", vec![link("box/d/a", ".."), link("box/d/b", "a/../..")], "goes down and up"),
        ("a link that a file replaces", vec![link("box/l", "x"), file("box/l")], "\"box/l\" is there twice"),
        ("chmod through a link", vec![link("box/l", "x"), folder("box/l")], "\"box/l\" is there twice"),
        ("a hard link, absolute", vec![hard("box/h", &canary)], "\"box/h\" is a link out of its folder"),
        ("a hard link, up", vec![hard("box/h", "box/../../canary")], "\"box/h\" is a link out"),
        ("a hard link, beside", vec![hard("box/h", "canary")], "\"box/h\" is a link out"),
        (
            "a hard link to a link",
            vec![link("box/l", "x"), hard("box/h", "box/l")],
            "\"box/h\" is a link to what is no file",
        ),
        (
            "a hard link through a link",
            vec![link("box/l", "."), hard("box/h", "box/l/x")],
            "\"box/h\" is a link to what",
        ),
        ("a hard link to nothing", vec![hard("box/h", "box/x")], "is a link to what is no file"),
        ("setuid", vec![entry(b'0', "box/su", "", 0o4755, 3, b"bad")], "\"box/su\" would run as its owner"),
        ("setgid", vec![entry(b'0', "box/sg", "", 0o2755, 3, b"bad")], "\"box/sg\" would run as its owner"),
        ("a device", vec![entry(b'3', "box/null", "", 0o666, 0, b"")], "\"box/null\" is neither"),
        ("a disk", vec![entry(b'4', "box/sda", "", 0o666, 0, b"")], "\"box/sda\" is neither"),
        ("a pipe", vec![entry(b'6', "box/fifo", "", 0o666, 0, b"")], "\"box/fifo\" is neither"),
        ("an unknown kind", vec![entry(b'Q', "box/q", "", 0o666, 0, b"")], "\"box/q\" is neither"),
        ("twice", vec![file("box/a"), file("box/a")], "\"box/a\" is there twice"),
        ("twice in disguise", vec![file("box/a"), file("box/./a")], "is there twice"),
        ("a file, then a folder", vec![file("box/a"), file("box/a/b")], "\"box/a\" is there twice, or is a folder"),
        (
            "case",
            vec![file("box/README"), file("box/readme")],
            "\"box/readme\" differs from \"box/README\" in case only",
        ),
        ("case of a folder", vec![file("box/D/a"), file("box/d/b")], "in case only"),
        ("a terminal's command", vec![file("box/\u{1b}[31m")], "has a control character"),
        ("a line break", vec![file("box/a\nb")], "has a control character"),
        ("text turned around", vec![file("box/a\u{202e}txt.exe")], "turns text around"),
        ("a backslash", vec![file("box/..\\..\\x")], "backslash"),
        ("no name", vec![file("")], "has no name"),
        ("a file for the folder", vec![file("box")], "is there twice, or is a folder"),
        (
            "a long name",
            vec![pax("path=b"), entry(b'L', "l", "", 0, 300, "n".repeat(300).as_bytes()), file("x")],
            "longer than 255",
        ),
        (
            "depth",
            vec![folder(&long), entry(b'L', "l", "", 0, 400, "d/".repeat(200).as_bytes()), folder("x")],
            "64 folders deep",
        ),
    ] {
        let mut entries = entries;
        // What comes first is unpacked already when the other is met.
        entries.insert(0, file("box/first"));
        entries.push(end());
        sandbox.refuses(what, &boxed(&entries), says).await;
    }
}

#[tokio::test]
async fn archives_that_are_not_what_they_say_are_refused_at_once() {
    let sandbox = Sandbox::new();
    let whole = [file("box/a"), file("box/b"), end()].concat();
    let refuse = async |what: &str, bytes: Vec<u8>, says: &str| {
        sandbox.refuses(what, &[(bytes, json!({TITLE: "box", UNPACK: "true"}))], says).await;
    };
    refuse("no end mark", gzip(&[file("box/a"), file("box/b")].concat()), "no end mark").await;
    refuse("cut in an entry", gzip(&whole[..1200]), "is cut short").await;
    refuse("cut in the compression", gzip(&whole)[..60].to_vec(), "is cut short").await;
    refuse(
        "damaged compression",
        {
            let mut bytes = gzip(&whole);
            bytes[40] ^= 0xff;
            bytes
        },
        "the archive box",
    )
    .await;
    refuse("no tar", gzip(&[7; 4096]), "is not a tar archive").await;
    refuse("empty", Vec::new(), "is cut short").await;
    refuse("a size that is none", gzip(&[pax("size=-1234"), whole.clone()].concat()), "no number").await;
    refuse("a size beyond the end", gzip(&[pax("size=9999999"), whole.clone()].concat()), "is cut short").await;
    refuse(
        "a size for a folder",
        gzip(&[pax("size=51200"), folder("box/d"), whole.clone()].concat()),
        "yet has a size",
    )
    .await;
    let sparse = gzip(&[entry(b'S', "box/s", "", 0o644, 8 << 30, b""), end()].concat());
    refuse("a sparse file of 8 GiB", sparse, "sparse file").await;
    refuse("sparse by an extension", gzip(&[pax("GNU.sparse.major=1"), whole.clone()].concat()), "sparse file").await;
    // The numbers of the archive that made tar readers work for minutes.
    let deep = "d/".repeat(2000);
    let deep = [entry(b'L', "l", "", 0, deep.len() as u64, deep.as_bytes()), file("x"), end()].concat();
    refuse("2,000 folders", gzip(&deep), "64 folders deep").await;
    // 8 GiB less one are said to be in what is 200 bytes.
    let bomb = [entry(b'0', "box/b", "", 0o644, (8 << 30) - 1, b""), end()].concat();
    refuse("a bomb", gzip(&bomb), "\"box/b\" is larger than so small an archive should hold").await;
    let zstd = zstd::stream::encode_all(bomb.as_slice(), 3).unwrap();
    refuse("a bomb of zstd", zstd, "\"box/b\" is larger than so small").await;
    let mut wide = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    wide.window_log(27).unwrap();
    wide.write_all(&whole).unwrap();
    refuse("a window of 128 MiB", wide.finish().unwrap(), "the archive box is damaged").await;
}

#[tokio::test]
async fn titles_that_lead_out_are_refused() {
    let sandbox = Sandbox::new();
    for (title, says) in [
        ("../canary", "leads out"),
        ("/etc/passwd", "absolute"),
        ("a/../../canary", "leads out"),
        ("a\\b", "backslash"),
        ("C:/x", "drive"),
        ("\u{1b}[2J", "control character"),
        ("", "has no name"),
        (".", "has no name"),
    ] {
        sandbox.refuses(title, &[(b"x".to_vec(), json!({TITLE: title}))], says).await;
    }
    let twins = [(b"1".to_vec(), json!({TITLE: "new"})), (b"2".to_vec(), json!({TITLE: "New"}))];
    sandbox.refuses("twins", &twins, "in case only").await;
    let through = [boxed(&[link("box/l", "x"), end()]).remove(0), (b"2".to_vec(), json!({TITLE: "box/l/x"}))];
    sandbox.refuses("through a link of another layer", &through, "\"box/l\" is there twice").await;
    let other = json!({TITLE: "box", UNPACK: "true", CONTENT_DIGEST: format!("sha256:{}", "0".repeat(64))});
    sandbox
        .refuses("another tar", &[(gzip(&[file("box/a"), end()].concat()), other)], "its manifest says sha256:000")
        .await;
}

#[tokio::test]
async fn nothing_is_written_through_links_in_the_output_folder() {
    let sandbox = Sandbox::new();
    let outside = sandbox.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, sandbox.output().join("box")).unwrap();
    std::os::unix::fs::symlink(sandbox.dir.path().join("canary"), sandbox.output().join("file")).unwrap();
    let repository = repository();
    let manifest = artifact(&repository, "a/b", &boxed(&[file("box/x"), end()])).await;
    let error = pull(&repository, &manifest, &sandbox.output(), false).await.unwrap_err();
    assert!(matches!(error, Error::File { ref source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists));
    // A file takes the place of a link, not of what is behind it.
    let manifest = artifact(&repository, "a/b", &[(b"new".to_vec(), json!({TITLE: "file"}))]).await;
    pull(&repository, &manifest, &sandbox.output(), false).await.unwrap();
    assert_eq!(fs::read(sandbox.output().join("file")).unwrap(), b"new");
    assert!(!sandbox.output().join("file").is_symlink());
    assert_eq!(fs::read(sandbox.dir.path().join("canary")).unwrap(), b"as it was");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[tokio::test]
async fn an_output_folder_that_is_swapped_meanwhile_changes_nothing() {
    let sandbox = Sandbox::new();
    let (output, moved) = (sandbox.output(), sandbox.dir.path().join("moved"));
    let repository = repository();
    let manifest = artifact(&repository, "a/b", &boxed(&[folder("box"), file("box/x"), end()])).await;
    let fetched = fetch(&repository, &manifest, &output, 2, &deaf()).await.unwrap();
    let elsewhere = sandbox.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(&output, &moved).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &output).unwrap();
    fetched.unpack(false, &CancellationToken::new()).await.unwrap();
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing went where the link leads");
    assert_eq!(fs::read(moved.join("box/x")).unwrap(), b"bad");
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_are_swapped_for_links_all_the_time_lead_nowhere() {
    let sandbox = Sandbox::new();
    let (output, outside) = (sandbox.output(), sandbox.dir.path().join("outside"));
    let (there, away) = (output.join("box"), sandbox.dir.path().join("away"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&there).unwrap();
    let repository = repository();
    let entries = [folder("box/sub"), file("box/sub/x"), file("box/y"), end()];
    let manifest = artifact(&repository, "a/b", &boxed(&entries)).await;
    let done = CancellationToken::new();
    let swapping = std::thread::spawn({
        let (done, outside) = (done.clone(), outside.clone());
        move || {
            // Each step may fail when the pull was faster.
            while !done.is_cancelled() {
                drop(fs::rename(&there, &away));
                drop(std::os::unix::fs::symlink(&outside, &there));
                drop(fs::remove_dir_all(&away));
                drop(fs::remove_file(&there));
                drop(fs::create_dir(&there));
            }
        }
    });
    let mut succeeded = 0;
    for _ in 0..200 {
        succeeded += usize::from(pull(&repository, &manifest, &output, false).await.is_ok());
        assert_eq!(contents(&outside), BTreeMap::new());
    }
    done.cancel();
    swapping.join().unwrap();
    assert!(succeeded > 0, "not one pull came between two swaps");
    let left: Vec<String> = contents(&output).into_keys().filter(|name| name.starts_with(".oci-store")).collect();
    assert_eq!(left, [""; 0]);
}
