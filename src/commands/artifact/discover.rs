//! `artifact discover`: what is attached to an image or an artifact, as a tree.

use serde::Serialize;

use crate::artifact::{self, Discovered};
use crate::backend::Intent;
use crate::commands::{Context, RepositoryPlace};
use crate::transfer::PlatformFilter;
use crate::ui::{CommandError, Format};

/// What to look for.
#[derive(Debug)]
pub struct Request {
    /// What things may be attached to.
    pub place: RepositoryPlace,
    /// Only what is of this type.
    pub artifact_type: Option<String>,
    /// The platform of an index that is meant.
    pub platform: Option<PlatformFilter>,
}

#[derive(Serialize)]
struct Outcome<'a> {
    reference: String,
    #[serde(flatten)]
    found: &'a Discovered,
}

/// Shows what is attached.
///
/// # Errors
/// Nothing is then shown.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
    let Request { place, artifact_type, platform } = request;
    let attempted = format!("cannot look for what is attached to {place}");
    let found = context.unless_stopped(format!("looking for what is attached to {place}"), async {
        let because = |error| CommandError::because(attempted.clone(), error);
        let repository = context.repository(&place, Intent::Read).await?;
        let subject = super::subject(&repository, &place, platform).await.map_err(because)?;
        artifact::discover(&repository, subject, artifact_type.as_deref()).await.map_err(because)
    });
    let found = found.await?;
    let reference = place.with_reference(None).to_string();
    let text = match context.printer.format() {
        Format::Text => {
            let mut lines = vec![format!("{reference}@{}", found.digest)];
            draw(&found, "", &mut lines);
            lines.join("\n")
        }
        Format::Json => serde_json::to_string(&Outcome { reference, found: &found })
            .map_err(|error| CommandError::because("cannot write the result", error))?,
    };
    context.printer.result(&text);
    Ok(())
}

/// Draws what refers to a manifest, a line for each, below and right of it.
fn draw(node: &Discovered, indent: &str, lines: &mut Vec<String>) {
    let last = node.referrers.len().saturating_sub(1);
    for (number, referrer) in node.referrers.iter().enumerate() {
        let (branch, below) = if number == last { ("└── ", "    ") } else { ("├── ", "│   ") };
        let kind: String = referrer.artifact_type.as_deref().unwrap_or("?").escape_debug().collect();
        lines.push(format!("{indent}{branch}{kind} {}", referrer.digest));
        draw(referrer, &format!("{indent}{below}"), lines);
    }
}

#[cfg(test)]
mod tests {
    use storage_layout::{Algorithm, Descriptor};

    use super::*;

    fn node(kind: &str, referrers: Vec<Discovered>) -> Discovered {
        let mut descriptor = Descriptor::new("m", Algorithm::Sha256.digest(kind.as_bytes()), 1);
        descriptor.artifact_type = Some(kind.to_owned());
        Discovered { referrers, ..descriptor.into() }
    }

    #[test]
    fn a_tree_is_drawn() {
        let tree = node("root", vec![node("a/sbom", vec![node("a/sig", Vec::new())]), node("\u{1b}[31m", Vec::new())]);
        let mut lines = Vec::new();
        draw(&tree, "", &mut lines);
        let shown: Vec<&str> = lines.iter().map(|line| line.split(" sha256:").next().unwrap_or_default()).collect();
        assert_eq!(shown, ["├── a/sbom", "│   └── a/sig", "└── \\u{1b}[31m"]);
    }
}
