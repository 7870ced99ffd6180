//! What people and scripts see: results, progress, errors, logs.

mod error;
mod exit;
mod logging;
mod printer;
mod progress;
mod size;

pub use error::CommandError;
pub use exit::ExitStatus;
pub use logging::init as init_logging;
pub use printer::{Format, Printer, Verbosity};
pub use progress::reporter;
pub use size::Bytes;
