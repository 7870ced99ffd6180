//! Paths that stay inside the folder that they are seen from.

use std::fmt;

/// The longest name of one file or folder, in bytes.
const MAX_PART: usize = 255;
/// The longest path, in bytes.
const MAX_PATH: usize = 4096;
/// Folders in folders: tar readers take minutes for some thousands.
const MAX_DEPTH: usize = 64;

/// A relative path, of which every part was looked at: no `..`, nothing that a terminal, a file system or another operating
/// system would take for something else. It may be empty, and then means the folder that it is seen from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct InnerPath(Vec<String>);

impl InnerPath {
    /// Reads a path whose parts are separated by `/`.
    ///
    /// # Errors
    /// What is wrong with it, as a clause.
    pub(super) fn parse(path: &[u8]) -> Result<Self, &'static str> {
        let path = std::str::from_utf8(path).map_err(|_| "is no UTF-8")?;
        if path.is_empty() {
            return Err("has no name");
        }
        if path.len() > MAX_PATH {
            return Err("is longer than 4096 bytes");
        }
        if path.starts_with('/') {
            return Err("is an absolute path");
        }
        let mut parts = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err("leads out of its folder"),
                part => parts.push(checked(part)?.to_owned()),
            }
        }
        if parts.first().is_some_and(|part| part.len() > 1 && part.as_bytes()[1] == b':') {
            return Err("begins like a Windows drive");
        }
        if parts.len() > MAX_DEPTH {
            return Err("is more than 64 folders deep");
        }
        Ok(Self(parts))
    }

    pub(super) fn parts(&self) -> &[String] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the folder that this is in, and its own name; `None` for the empty path.
    pub(super) fn split(&self) -> Option<(Self, &str)> {
        let (name, folder) = self.0.split_last()?;
        Some((Self(folder.to_vec()), name))
    }

    /// Returns the first `count` parts.
    pub(super) fn first(&self, count: usize) -> Self {
        Self(self.0[..count].to_vec())
    }

    /// Returns the path that `inner`, seen from here, is.
    pub(super) fn join(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }

    /// Returns what is left of this path seen from `folder`, if it is in it.
    pub(super) fn below(&self, folder: &Self) -> Option<Self> {
        self.0.strip_prefix(folder.0.as_slice()).map(|parts| Self(parts.to_vec()))
    }
}

impl fmt::Display for InnerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str(".") } else { f.write_str(&self.0.join("/")) }
    }
}

/// Returns a name as it is if a file may have it.
fn checked(part: &str) -> Result<&str, &'static str> {
    if part.len() > MAX_PART {
        return Err("has a name longer than 255 bytes");
    }
    for c in part.chars() {
        match c {
            '\\' => return Err("has a backslash in it"),
            c if c.is_control() => return Err("has a control character in it"),
            // They make a name look like another one.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                return Err("has a character in it that turns text around");
            }
            _ => {}
        }
    }
    Ok(part)
}

/// Checks where a symbolic link leads that is `depth` folders below the outermost one: relative, up only at its beginning, and
/// not out. Links are then followed inside only, whatever other links they lead through, for nothing but a beginning goes up,
/// and that from the folder that the link truly is in.
///
/// # Errors
/// What is wrong with it, as a clause.
pub(super) fn check_link(target: &[u8], depth: usize) -> Result<&str, &'static str> {
    let target = std::str::from_utf8(target).map_err(|_| "is a link to what is no UTF-8")?;
    if target.is_empty() || target.len() > MAX_PATH {
        return Err("is a link to nothing");
    }
    if target.starts_with('/') {
        return Err("is a link to an absolute path");
    }
    let (mut up, mut goes_down) = (0, false);
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if goes_down => return Err("is a link that goes down and up again"),
            ".." => up += 1,
            part => {
                checked(part)?;
                goes_down = true;
            }
        }
    }
    if up > depth { Err("is a link out of its folder") } else { Ok(target) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_and_are_what_they_look_like() {
        for (path, parsed) in [("a", "a"), ("./a//b/", "a/b"), (".", "."), ("hi:there", "hi:there"), ("ä.txt", "ä.txt")]
        {
            assert_eq!(InnerPath::parse(path.as_bytes()).unwrap().to_string(), parsed);
        }
        let deep = "d/".repeat(65);
        let long = "a".repeat(256);
        for path in [
            "",
            "/a",
            "..",
            "a/../b",
            "../a",
            "a\\b",
            "C:/a",
            "c:a",
            "a\nb",
            "\u{1b}[31m",
            "a\u{202e}txt.exe",
            "a\u{0}b",
            &deep,
            &long,
        ] {
            assert!(InnerPath::parse(path.as_bytes()).is_err(), "{path:?} was taken");
        }
        assert!(InnerPath::parse(b"\xff").is_err());
    }

    #[test]
    fn links_stay_inside_whatever_they_lead_through() {
        for (target, depth) in [("a", 0), ("./a/b", 0), ("../a", 1), ("../../a", 2), ("..", 1), (".", 0)] {
            assert_eq!(check_link(target.as_bytes(), depth), Ok(target));
        }
        for (target, depth) in [("/etc/passwd", 3), ("..", 0), ("../../a", 1), ("a/../../b", 2), ("a/..", 1), ("", 0)] {
            assert!(check_link(target.as_bytes(), depth).is_err(), "{target:?} was taken");
        }
    }
}
