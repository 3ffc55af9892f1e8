//! The program as it is built, packaged and first started.

mod builds;
mod embedded;
mod files;
mod quickstart;
