//! Choosing manifests of an index by platform.

use std::fmt;
use std::str::FromStr;

use storage_layout::{Descriptor, Platform};

use super::Error;

/// The annotation in an index of an attestation: the digest of the image that it is about, which is in the same index.
pub const ATTESTED: &str = "vnd.docker.reference.digest";

/// `os/arch[/variant]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformFilter {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl PlatformFilter {
    /// Returns the platform that an image for this machine's containers has: always Linux, whatever runs the tool.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Returns it as the JSON document of an OCI platform.
    pub fn to_json(&self) -> String {
        let mut document = serde_json::json!({"os": self.os, "architecture": self.architecture});
        if let Some(variant) = &self.variant {
            document["variant"] = variant.as_str().into();
        }
        document.to_string()
    }

    /// Tells whether `platform` is what was asked for. Without a variant any will do.
    pub fn matches(&self, platform: &Platform) -> bool {
        let variant = platform.variant().as_deref().unwrap_or_default();
        // arm64 and arm64/v8 are one platform.
        let is_default = |variant: &str| variant.is_empty() || (self.architecture == "arm64" && variant == "v8");
        platform.os().to_string() == self.os
            && platform.architecture().to_string() == self.architecture
            && self
                .variant
                .as_deref()
                .is_none_or(|wanted| wanted == variant || (is_default(wanted) && is_default(variant)))
    }

    /// Tells whether `other` is what was asked for, as [`PlatformFilter::matches`] does.
    pub fn includes(&self, other: &Self) -> bool {
        serde_json::from_str(&other.to_json()).is_ok_and(|platform| self.matches(&platform))
    }

    /// Returns the first manifest of an index that is for this platform.
    ///
    /// # Errors
    /// [`Error::NoPlatform`], which lists those that are there.
    pub fn choose<'a>(&self, manifests: &'a [Descriptor]) -> Result<&'a Descriptor, Error> {
        let found = manifests.iter().find(|descriptor| descriptor.platform.as_ref().is_some_and(|p| self.matches(p)));
        found.ok_or_else(|| {
            let names: Vec<String> = manifests.iter().filter_map(|d| d.platform.as_ref()).map(platform_name).collect();
            let available = if names.is_empty() { "no platform by name".to_owned() } else { names.join(", ") };
            Error::NoPlatform { wanted: self.to_string(), available }
        })
    }
}

/// Returns `os/arch[/variant]`.
pub fn platform_name(platform: &Platform) -> String {
    let mut name = format!("{}/{}", platform.os(), platform.architecture());
    if let Some(variant) = platform.variant() {
        name.push('/');
        name.push_str(variant);
    }
    name
}

impl fmt::Display for PlatformFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for PlatformFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        };
        match parts.as_slice() {
            [os, architecture, rest @ ..] if rest.len() <= 1 && parts.iter().all(is_word) => Ok(Self {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: rest.first().map(|variant| (*variant).to_owned()),
            }),
            _ => Err("a platform is os/arch or os/arch/variant, such as linux/arm64".to_owned()),
        }
    }
}
