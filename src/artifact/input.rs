//! What is to become an artifact, as a user says it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::DateTime;

use super::CREATED;
use super::path::InnerPath;
use crate::transfer::TITLE;

/// What a file is when nothing is said of it. It is what oras says too.
const DEFAULT_FILE: &str = "application/vnd.oci.image.layer.v1.tar";
/// What a folder is, packed.
const DEFAULT_FOLDER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// What a config is when nothing is said of it.
const DEFAULT_CONFIG: &str = "application/vnd.unknown.config.v1+json";

/// Why an artifact cannot be made of what was said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidInput(String);

/// A file or folder, `PATH[:media/type]`. A path that has a colon in it ends in one: `hi:txt:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it is, where that is said.
    pub media_type: Option<String>,
}

impl FromStr for InputFile {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let (path, media_type) = text.rsplit_once(':').map_or((text, None), |(path, kind)| (path, Some(kind)));
        let media_type = media_type.filter(|kind| !kind.is_empty());
        if path.is_empty() {
            return Err(InvalidInput(format!("{text:?} names no file")));
        }
        if let Some(media_type) = media_type
            && !is_media_type(media_type)
        {
            return Err(InvalidInput(format!(
                "{text:?} has {media_type:?} in the place of a media type; a name with a colon in it ends in one, as in {text:?}:"
            )));
        }
        Ok(Self { path: path.into(), media_type: media_type.map(str::to_owned) })
    }
}

/// Annotations of the manifest, the config and the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Those of the manifest.
    pub manifest: BTreeMap<String, String>,
    /// Those of the config's descriptor.
    pub config: BTreeMap<String, String>,
    /// Those of the files' descriptors, by path as it was said.
    pub files: BTreeMap<String, BTreeMap<String, String>>,
}

impl Annotations {
    /// Reads oras's annotation file: a JSON object of objects, `$manifest`, `$config`, and one for each file.
    ///
    /// # Errors
    /// [`InvalidInput`] if it is another document.
    pub fn from_json(bytes: &[u8]) -> Result<Self, InvalidInput> {
        let mut files: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(bytes)
            .map_err(|error| InvalidInput(format!("it is no JSON object of objects of strings: {error}")))?;
        let manifest = files.remove("$manifest").unwrap_or_default();
        let config = files.remove("$config").unwrap_or_default();
        Ok(Self { manifest, config, files })
    }
}

/// All that makes an artifact.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// The files and folders, each a layer.
    pub files: Vec<InputFile>,
    /// The file that is the config; without it the config is empty.
    pub config: Option<InputFile>,
    /// The kind of artifact, a media type.
    pub artifact_type: Option<String>,
    /// What else is told.
    pub annotations: Annotations,
}

/// A recipe that was looked at: it can be followed, if the files can be read.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) files: Vec<PlannedFile>,
    pub(super) config: Option<(PathBuf, String)>,
    pub(super) artifact_type: Option<String>,
    pub(super) annotations: Annotations,
}

impl Plan {
    /// Tells whether the artifact would say nothing: it has no files and no annotations.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.config.is_none() && self.annotations.manifest.is_empty()
    }
}

/// A file or folder that is to become a layer.
#[derive(Clone, Debug)]
pub(super) struct PlannedFile {
    pub(super) path: PathBuf,
    pub(super) title: InnerPath,
    media_type: Option<String>,
    /// Without the title.
    pub(super) annotations: BTreeMap<String, String>,
}

impl PlannedFile {
    pub(super) fn media_type(&self, is_folder: bool) -> &str {
        self.media_type.as_deref().unwrap_or(if is_folder { DEFAULT_FOLDER } else { DEFAULT_FILE })
    }
}

impl Recipe {
    /// Looks whether the recipe can be followed. No file is read.
    ///
    /// # Errors
    /// [`InvalidInput`] if a file would have a title that nobody should unpack, or that another one has; if the artifact type or
    /// the time of creation is none; if there are annotations for a file that is not given.
    pub fn check(self) -> Result<Plan, InvalidInput> {
        if let Some(artifact_type) = &self.artifact_type
            && !is_media_type(artifact_type)
        {
            return Err(InvalidInput(format!(
                "the artifact type {artifact_type:?} is no media type, such as acme/rocket"
            )));
        }
        if let Some(created) = self.annotations.manifest.get(CREATED)
            && let Err(error) = DateTime::parse_from_rfc3339(created)
        {
            return Err(InvalidInput(format!(
                "the annotation {CREATED} is {created:?}, no time such as 2026-01-31T12:00:00Z: {error}"
            )));
        }
        let (mut files, mut titles, mut annotations) = (Vec::new(), HashSet::new(), self.annotations);
        for file in self.files {
            let mut own = file.path.to_str().and_then(|path| annotations.files.remove(path)).unwrap_or_default();
            let title = match own.remove(TITLE) {
                Some(title) => InnerPath::parse(title.as_bytes())
                    .map_err(|why| InvalidInput(format!("the title {title:?} {why}; nobody would unpack it")))?,
                None => title_of(&file.path)?,
            };
            if !titles.insert(title.to_string().to_lowercase()) {
                return Err(InvalidInput(format!(
                    "two files have the title {title}, or titles that differ in case only"
                )));
            }
            files.push(PlannedFile { path: file.path, title, media_type: file.media_type, annotations: own });
        }
        for PlannedFile { title, .. } in &files {
            let is_in_another = |count| titles.contains(&title.first(count).to_string().to_lowercase());
            if (0..title.parts().len()).any(is_in_another) {
                return Err(InvalidInput(format!("{title} is in a folder that is given too: it would be there twice")));
            }
        }
        if let Some((path, _)) = annotations.files.pop_first() {
            return Err(InvalidInput(format!("there are annotations for {path:?}, which is none of the files given")));
        }
        let config = self.config.map(|config| (config.path, config.media_type.unwrap_or(DEFAULT_CONFIG.to_owned())));
        Ok(Plan { files, config, artifact_type: self.artifact_type, annotations })
    }
}

/// Returns the title of a file that was given by this path: the path itself, made plain.
fn title_of(path: &Path) -> Result<InnerPath, InvalidInput> {
    let shown = path.display().to_string();
    let refused = |why: &str| {
        InvalidInput(format!(
            "{shown:?} {why}; change into its folder, or give it a title in an annotation file: {{{shown:?}: {{{TITLE:?}: \"name\"}}}}"
        ))
    };
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir if !plain.pop() => return Err(refused("lies outside of this folder")),
            std::path::Component::ParentDir | std::path::Component::CurDir => {}
            part => plain.push(part),
        }
    }
    let text = plain.to_str().ok_or_else(|| refused("is no UTF-8"))?;
    InnerPath::parse(if text.is_empty() { b"." } else { text.as_bytes() }).map_err(refused)
}

/// Tells whether a text is a media type as RFC 6838 §4.2 has it, without parameters.
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        name.len() <= 127
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&^_.+-".contains(c))
    };
    text.split_once('/').is_some_and(|(kind, name)| is_name(kind) && is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(files: &[&str]) -> Recipe {
        Recipe { files: files.iter().map(|file| file.parse().unwrap()).collect(), ..Recipe::default() }
    }

    #[test]
    fn files_are_given_with_and_without_their_media_type() {
        for (text, path, media_type) in [
            ("hi.txt", "hi.txt", None),
            ("hi.txt:text/plain", "hi.txt", Some("text/plain")),
            ("hi:txt:", "hi:txt", None),
            ("a:b:c/d", "a:b", Some("c/d")),
        ] {
            let file: InputFile = text.parse().unwrap();
            assert_eq!((file.path.to_str().unwrap(), file.media_type.as_deref()), (path, media_type));
        }
        for bad in ["", ":text/plain", "hi:txt", "hi:a/b/c", "hi:text/plain; charset=utf-8"] {
            assert!(bad.parse::<InputFile>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn titles_are_plain_paths() {
        let plan = recipe(&["./build/foo.txt", "a/../b"]).check().unwrap();
        let titles: Vec<String> = plan.files.iter().map(|file| file.title.to_string()).collect();
        assert_eq!(titles, ["build/foo.txt", "b"]);
        assert_eq!(recipe(&["."]).check().unwrap().files[0].title.to_string(), ".");
        for bad in
            [&["/etc/passwd"][..], &["../x"], &["a/../../x"], &["x", "./x"], &["x", "X"], &["x", "x/y"], &["x", "."]]
        {
            assert!(recipe(bad).check().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn annotations_are_read_from_oras_file() {
        let mut recipe = recipe(&["../x", "y"]);
        recipe.annotations = Annotations::from_json(
            br#"{"$manifest":{"k":"v"},"$config":{"c":"d"},"../x":{"org.opencontainers.image.title":"x"},"y":{"z":""}}"#,
        )
        .unwrap();
        let plan = recipe.clone().check().unwrap();
        assert_eq!(plan.files[0].title.to_string(), "x");
        assert_eq!(plan.files[1].annotations["z"], "");
        assert_eq!((&plan.annotations.manifest["k"][..], &plan.annotations.config["c"][..]), ("v", "d"));
        recipe.files.pop();
        assert!(recipe.check().unwrap_err().to_string().contains("\"y\""));
        assert!(Annotations::from_json(b"[]").is_err());
        assert!(Annotations::from_json(br#"{"a":{"b":1}}"#).is_err());
    }

    #[test]
    fn what_is_no_time_or_type_is_refused() {
        let mut wrong = recipe(&[]);
        wrong.annotations.manifest.insert(CREATED.to_owned(), "yesterday".to_owned());
        assert!(wrong.check().is_err());
        assert!(Recipe { artifact_type: Some("rocket".to_owned()), ..recipe(&[]) }.check().is_err());
    }
}
