//! stdout is the result and nothing else; stderr is for people.

use std::io::{self, IsTerminal, Write};

use super::CommandError;

/// How the result is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// How much is said on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbosity {
    /// Nothing but errors.
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbose: u8,
}

/// Writes for people and scripts.
#[derive(Clone, Debug, Default)]
pub struct Printer {
    format: Format,
    verbosity: Verbosity,
    bars: Option<indicatif::MultiProgress>,
}

impl Printer {
    /// Makes a printer. Progress is drawn only where it can be seen and was not forbidden.
    pub fn new(format: Format, verbosity: Verbosity, progress: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let draw = progress && !verbosity.quiet && !dumb && !set("CI") && io::stderr().is_terminal();
        // Log lines would tear the bars apart.
        let draw = draw && verbosity.verbose == 0;
        Self { format, verbosity, bars: draw.then(indicatif::MultiProgress::new) }
    }

    /// Returns how the result is to be written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns where bars are drawn, if they are.
    pub(super) fn bars(&self) -> Option<&indicatif::MultiProgress> {
        self.bars.as_ref()
    }

    /// Takes the bars away: what is said from here on stays.
    pub fn end_progress(&self) {
        if let Some(bars) = &self.bars
            && let Err(error) = bars.clear()
        {
            tracing::debug!(%error, "the bars could not be cleared");
        }
    }

    /// Tells whether stderr carries more than errors.
    pub fn is_quiet(&self) -> bool {
        self.verbosity.quiet
    }

    /// Writes a line of the result. A reader who has gone away is no failure of ours.
    pub fn result(&self, line: &str) {
        let mut stdout = io::stdout().lock();
        if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
            tracing::debug!(%error, "the result could not be written");
        }
    }

    /// Writes a result for people, which may quote what came from elsewhere.
    pub fn text(&self, lines: &str) {
        self.result(&printable(lines));
    }

    /// Writes the result as one JSON document.
    ///
    /// # Errors
    /// If it cannot be one.
    pub fn document(&self, document: &impl serde::Serialize) -> Result<(), CommandError> {
        let text =
            serde_json::to_string(document).map_err(|error| CommandError::because("cannot write the result", error))?;
        self.result(&text);
        Ok(())
    }

    /// Writes bytes of the result as they are.
    pub fn raw(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            tracing::debug!(%error, "the result could not be written");
        }
    }

    /// Tells people something, unless they asked for quiet.
    pub fn note(&self, line: &str) {
        if !self.verbosity.quiet {
            self.error_line(line);
        }
    }

    /// Asks people something. The answer is typed into the same line.
    pub fn prompt(&self, question: &str) {
        let mut stderr = io::stderr().lock();
        if let Err(error) = write!(stderr, "{}", printable(question)).and_then(|()| stderr.flush()) {
            tracing::debug!(%error, "a question could not be written to stderr");
        }
    }

    /// Tells people something, whatever they asked for.
    pub fn error_line(&self, line: &str) {
        let write = || {
            // Text from a registry or a bucket must not reach the terminal as control sequences.
            let mut stderr = io::stderr().lock();
            writeln!(stderr, "{}", printable(line))
        };
        let written = match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        };
        if let Err(error) = written {
            tracing::debug!(%error, "a line could not be written to stderr");
        }
    }
}

/// Escapes control characters, but for the line breaks of our own layout.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() && c != '\n' { c.escape_default().collect::<String>() } else { c.to_string() }
                .chars()
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_are_made_visible() {
        assert_eq!(printable("a\u{1b}[31mb\nc\r"), "a\\u{1b}[31mb\nc\\r");
    }
}
