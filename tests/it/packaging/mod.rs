//! The program as it is built, packaged and first started.

mod builds;
mod damaged;
mod embedded;
mod files;
mod first_minutes;
mod manifests;
mod mistakes;
mod packages;
mod quickstart;
