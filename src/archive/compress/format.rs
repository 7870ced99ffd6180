//! How layers are compressed, and what they and their manifests are then called.

use std::fmt;
use std::str::FromStr;

use storage_layout::{Descriptor, Digest, media_type};

/// A format of compressed layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompressionFormat {
    /// What every registry and every daemon takes.
    #[default]
    Gzip,
    /// Faster and smaller. Docker reads it since 23.0.
    Zstd,
}

/// A format and a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerCompression {
    format: CompressionFormat,
    level: i32,
}

impl LayerCompression {
    /// Makes a compression; without a level, of the level that is used by default.
    ///
    /// # Errors
    /// The text for people, if the format has no such level.
    pub fn new(format: CompressionFormat, level: Option<i32>) -> Result<Self, String> {
        let levels = format.levels();
        match level {
            Some(level) if !levels.contains(&level) => {
                Err(format!("{format} has the levels {} to {}", levels.start(), levels.end()))
            }
            level => Ok(Self { format, level: level.unwrap_or(format.default_level()) }),
        }
    }

    /// Returns the format.
    pub fn format(self) -> CompressionFormat {
        self.format
    }

    pub(super) fn level(self) -> i32 {
        self.level
    }
}

impl Default for LayerCompression {
    fn default() -> Self {
        let format = CompressionFormat::default();
        Self { format, level: format.default_level() }
    }
}

impl CompressionFormat {
    fn levels(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Self::Gzip => 1..=12,
            // From 20 on a decoder needs more memory than many allow themselves.
            Self::Zstd => 1..=19,
        }
    }

    /// Of gzip the level that makes layers as small as Docker does, in a third of the time; of zstd its own default.
    fn default_level(self) -> i32 {
        match self {
            Self::Gzip => 4,
            Self::Zstd => 3,
        }
    }

    /// Returns the format of a layer that a manifest names, if it is one of these.
    pub fn of_layer(layer: &Descriptor) -> Option<Self> {
        match layer.media_type.as_str() {
            media_type::OCI_LAYER_GZIP | media_type::DOCKER_LAYER_GZIP => Some(Self::Gzip),
            media_type::OCI_LAYER_ZSTD => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// A layer as a registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerBlob {
    /// The digest of the compressed bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    /// How they are compressed.
    pub format: CompressionFormat,
}

impl LayerBlob {
    /// Returns the layer that a manifest names, if its compression is known.
    pub fn of(layer: &Descriptor) -> Option<Self> {
        let format = CompressionFormat::of_layer(layer)?;
        Some(Self { digest: layer.digest.clone(), size: layer.size, format })
    }
}

impl fmt::Display for CompressionFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

impl FromStr for CompressionFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err("a compression is gzip or zstd".to_owned()),
        }
    }
}
