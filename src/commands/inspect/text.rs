//! What `inspect` says to people.

use std::collections::BTreeMap;
use std::fmt;

use super::{Inspected, InspectedImage, Node};
use crate::ui::Bytes;

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.reference)?;
        writeln!(f, "  digest   {}", self.digest)?;
        writeln!(f, "  type     {}", self.media_type)?;
        match self.content_size {
            Some(size) => write!(f, "  size     {}", Bytes(size))?,
            None => write!(f, "  size     unknown: not all of it is there")?,
        }
        for image in &self.images {
            write!(f, "\n{image}")?;
        }
        if !self.referrers.is_empty() {
            write!(f, "\nreferrers")?;
            tree(f, &self.referrers, 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for InspectedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.platform.as_ref().or(self.artifact_type.as_ref()).unwrap_or(&self.media_type);
        write!(f, "{what}")?;
        write!(f, "\n  digest   {}", self.digest)?;
        if let Some(created) = &self.created {
            write!(f, "\n  created  {created}")?;
        }
        if let Some(config) = &self.config {
            write!(f, "\n  config   {}  {}", config.digest, Bytes(config.size))?;
        }
        for layer in &self.layers {
            write!(f, "\n  layer    {}  {}  {}", layer.digest, Bytes(layer.size), layer.media_type)?;
        }
        pairs(f, "label   ", &self.labels)?;
        pairs(f, "annotation", &self.annotations)?;
        for attestation in &self.attestations {
            write!(f, "\n  attestation {attestation}")?;
        }
        if !self.referrers.is_empty() {
            write!(f, "\n  referrers")?;
            tree(f, &self.referrers, 2)?;
        }
        Ok(())
    }
}

fn pairs(f: &mut fmt::Formatter<'_>, word: &str, pairs: &BTreeMap<String, String>) -> fmt::Result {
    pairs.iter().try_for_each(|(key, value)| write!(f, "\n  {word} {key}={value}"))
}

fn tree(f: &mut fmt::Formatter<'_>, nodes: &[Node], depth: usize) -> fmt::Result {
    for node in nodes {
        write!(f, "\n{:indent$}{}  {}", "", node.digest, node.artifact_type, indent = depth * 2)?;
        if let Some(tag) = &node.tag {
            write!(f, "  {tag}")?;
        }
        tree(f, &node.referrers, depth + 1)?;
    }
    Ok(())
}
