//! Tests of the whole: the command line, the registry by HTTP, real daemons and stores.
//!
//! Those that need a service run where its `OCI_STORE_TEST_…` variables are set, and say so where they are not; with
//! `OCI_STORE_REQUIRE` naming the service, its absence is a failure. `tests/all.sh` sets them all.

mod artifact;
mod bad_daemons;
mod cli;
mod clouds;
mod compatibility;
mod copy;
mod crash;
mod daemons;
mod docker;
mod doctor;
mod failures;
mod interop;
mod layering;
mod limits;
mod places;
mod readme;
mod remote;
mod seeds;
mod server;
mod spec;
mod support;
mod ways;
