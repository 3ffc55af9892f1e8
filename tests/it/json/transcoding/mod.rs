//! JSON in front of gRPC, over real sockets: HTTP/1.1 and HTTP/2, on both back-ends.

mod bodies;
mod broken;
mod calls;
mod coded_streams;
mod codings;
mod compatible;
mod described;
mod oneofs;
mod refused;
mod statuses;
mod streams;
mod uploads;
mod web;
