//! What was examined and how it is.

use std::fmt;

use serde::Serialize;

use crate::backend::LOOKED_AT;
use crate::ui::{CommandError, ExitStatus};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// It works, but something is to be known or done.
    Warning,
    /// It does not work.
    Failed,
}

/// One thing that was examined.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// What was examined, in a word.
    pub(super) check: &'static str,
    /// How it is.
    pub(super) status: Status,
    /// What was found.
    pub(super) found: String,
    /// The one action that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<String>,
    /// How the command ends because of it.
    #[serde(skip)]
    pub(super) exit: ExitStatus,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, found: found.into(), action: None, exit: ExitStatus::Ok }
    }

    pub(super) fn warning(check: &'static str, found: impl Into<String>, action: impl Into<String>) -> Self {
        let action = Some(action.into());
        Self { check, status: Status::Warning, found: found.into(), action, exit: ExitStatus::Ok }
    }

    /// Makes a finding of an error: its causes are what was found, its first advice that says what to do is the action.
    pub(super) fn failed(check: &'static str, error: &CommandError) -> Self {
        let (mut found, hints) = error.parts();
        let (looked_at, actions): (Vec<_>, Vec<_>) = hints.into_iter().partition(|hint| hint.starts_with(LOOKED_AT));
        for places in looked_at {
            found = format!("{found}; {places}");
        }
        Self { check, status: Status::Failed, found, action: actions.into_iter().next(), exit: error.status() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Failed => "failed",
        };
        write!(f, "{status:8} {:12} {}", self.check, self.found)?;
        self.action.as_ref().map_or(Ok(()), |action| write!(f, "\n{:21} do: {action}", ""))
    }
}
