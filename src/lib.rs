//! Container images in a bucket, with no registry running.
//!
//! A module may use only modules of the rows below its own; `tests/it/layering.rs` holds the table.
//!
//! ```text
//! main → cli            arguments, environment variables, dispatch
//!        commands       one file per verb: wires the pieces, owns cleanup
//!        ui             printer, progress bars, errors as text and exit code
//!        docker  registry  server  backend  remote     siblings: they never use each other
//!        archive        OCI image layouts and docker-save tars
//!        transfer       Source, Target, Reporter, copy_image
//!        storage-layout (crate)
//!        secret         a text that is never shown
//! ```

pub mod archive;
pub mod backend;
pub mod cli;
pub mod commands;
pub mod docker;
pub mod registry;
pub mod remote;
pub mod secret;
pub mod server;
pub mod transfer;
pub mod ui;
