//! Ringway: an API gateway for gRPC services on Linux, one worker per core, each on its own io_uring.
//!
//! Three floors; a module imports only from floors below it, and `tests/tidy.rs` holds the law. To read the code, begin
//! with `worker::call`: it is one call from its head to its last byte.
//!
//! # Ground: without I/O, clock or runtime
//!
//! [`config`] turns a TOML text into checked types. Every key is a row of [`config::knobs`], with its bounds, its default
//! and its sentence; an error has a line, a column and a hint.
//!
//! [`policy`] decides: routes, limits, deadlines, retries, breakers, who may call. A policy is a value that is asked and
//! told, with the time as an argument. What all workers share of one is exact, and touched as rarely as that allows.
//!
//! [`metrics`] counts. Each worker writes a shard of its own; the page adds them up when somebody asks for it. Records for
//! access log and traces go through rings of fixed size.
//!
//! [`time`] has [`Moment`](time::Moment) and the timing wheel, [`random`] a generator with a seed, [`buffer`] the memory that
//! bytes of a worker's connections lie in, and [`alloc`] counts allocations.
//!
//! # Middle: bytes and sockets of one core
//!
//! [`wire`] reads and writes what gRPC, gRPC-Web, Connect and trace context put into heads and frames. [`http2`] is the
//! engine of the request path: bytes and the time go in, bytes come out.
//!
//! [`transcode`] compiles descriptors to tables, once; by them JSON becomes wire bytes and back in one pass.
//!
//! [`tls`] makes contexts of certificates and rules, and has the records of one connection. [`net`] moves bytes: sockets, the
//! ring or epoll, the event loop and its tasks. It alone knows sockets.
//!
//! [`upstream`] has the clusters of one worker: endpoints, connections to them, and calls that wait for one.
//!
//! # Upper: cores and people
//!
//! [`worker`] is all that one core owns, from accepting a connection to the record of a call. [`supervisor`] starts, watches,
//! reloads and ends the workers, and does everything that a worker must not wait for. [`admin`] shows what they do.
//!
//! [`background`] is a thread that ends with its owner. [`demo`] has four services to try the gateway with, [`tools`] the
//! programs that measure and advise, and [`cli`] their arguments, logs and exit codes.

// The docs are for those who work on it: `./check.sh` builds them with private items.
#![allow(rustdoc::private_intra_doc_links)]

pub mod alloc;
pub mod buffer;
pub mod config;
pub mod metrics;
pub mod policy;
pub mod random;
pub mod time;

pub mod http2;
pub mod net;
pub mod tls;
pub mod transcode;
pub mod upstream;
pub mod wire;

pub mod admin;
pub mod background;
pub mod cli;
pub mod demo;
pub mod supervisor;
pub mod tools;
pub mod worker;
