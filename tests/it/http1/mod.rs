//! HTTP/1.1 and gRPC-Web, as browsers and old clients speak them.

mod connect;
mod unread_bodies;
mod web;
mod web_passes;
