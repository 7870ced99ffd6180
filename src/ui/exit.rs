//! Exit codes: a contract with scripts.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// All was done.
    Ok = 0,
    /// A failure of no other kind.
    Other = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Some of it was done.
    Partly = 3,
    /// The image, tag, bucket or file does not exist.
    NotFound = 10,
    /// Somebody else changed the same thing.
    Conflict = 11,
    /// Credentials are missing, wrong or not enough.
    Credentials = 12,
    /// Bytes have another digest or size than they should.
    Integrity = 13,
    /// The storage does not answer as it should; trying again may help.
    Unavailable = 14,
    /// The Docker daemon is not there or failed.
    Docker = 15,
    /// No space is left, or a limit was reached.
    NoSpace = 16,
    /// The user stopped it.
    Interrupted = 130,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}
