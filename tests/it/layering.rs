//! Modules use only modules below them. The table is the one in `src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and what it may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("secret", &[]),
    ("transfer", &[]),
    ("archive", &["transfer"]),
    ("artifact", &["transfer", "archive"]),
    ("cache", &["transfer", "archive"]),
    ("docker", &["transfer", "archive"]),
    ("registry", &["transfer", "archive"]),
    ("server", &["transfer", "archive"]),
    ("backend", &["secret", "transfer", "archive"]),
    ("remote", &["secret", "transfer"]),
    (
        "ui",
        &["secret", "transfer", "archive", "artifact", "cache", "docker", "registry", "server", "backend", "remote"],
    ),
    (
        "commands",
        &[
            "secret", "transfer", "archive", "artifact", "cache", "docker", "registry", "server", "backend", "remote",
            "ui",
        ],
    ),
    (
        "cli",
        &[
            "secret", "transfer", "archive", "artifact", "cache", "docker", "registry", "server", "backend", "remote",
            "ui", "commands",
        ],
    ),
];

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).expect("src is a folder") {
        let path = entry.expect("a folder can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn modules_use_only_what_is_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut seen = 0;
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let allowed = ALLOWED.iter().find(|(name, _)| *name == module);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("module {module} is not in the table"));
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at + "crate::".len()..];
            // `use crate::{a, b}` names several.
            let group = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(group, _)| group);
            for used in group.unwrap_or(rest).split(", ").take(if group.is_some() { usize::MAX } else { 1 }) {
                let used: String = used.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                seen += 1;
                assert!(used == module || allowed.contains(&used.as_str()), "{} uses crate::{used}", inside.display());
            }
        }
    }
    assert!(seen > 20, "the scan found next to nothing: {seen}");
}

#[test]
fn the_table_is_the_one_in_the_documentation() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for (module, _) in ALLOWED {
        assert!(lib.contains(&format!("pub mod {module};")), "{module} is not in lib.rs");
    }
}
