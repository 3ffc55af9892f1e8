//! The table of knobs, in the order of the file. Each part of the file has its rows in a file of its own.

mod access;
mod clusters;
mod listeners;
mod process;
mod resilience;
mod routes;
mod tls;
mod transcoding;
mod values;

use super::knob::Knob;

/// Every key there is, in the order of the file.
pub const KNOBS: &[Knob] = &ALL;

const PARTS: [&[Knob]; 27] = [
    process::ROWS,
    tls::TRACING_ROWS,
    listeners::ROWS,
    tls::LISTENER_ROWS,
    transcoding::ROWS,
    routes::ROWS,
    routes::HEADER_MATCHERS,
    routes::QUERY_PARAMETERS,
    routes::SHARES,
    routes::ACTIONS,
    routes::RETRY,
    routes::HEDGING_TABLE,
    routes::HEDGING,
    routes::BREAKER_TABLE,
    routes::BREAKER,
    access::ROWS,
    tls::JWKS_ROWS,
    clusters::ROWS,
    clusters::METHOD_HEDGING,
    clusters::METHOD_BREAKER_TABLE,
    clusters::METHOD_BREAKER,
    clusters::RETRY_TABLE,
    clusters::RETRY,
    clusters::BREAKER_TABLE,
    clusters::BREAKER,
    clusters::OTHER_ROWS,
    tls::CLUSTER_ROWS,
];

static ALL: [Knob; count(&PARTS)] = joined(&PARTS);

const fn count(parts: &[&[Knob]]) -> usize {
    let (mut sum, mut part) = (0, 0);
    while part < parts.len() {
        sum += parts[part].len();
        part += 1;
    }
    sum
}

const fn joined<const COUNT: usize>(parts: &[&[Knob]]) -> [Knob; COUNT] {
    let mut all = [parts[0][0]; COUNT];
    let (mut part, mut row, mut at) = (0, 0, 0);
    while at < COUNT {
        if row == parts[part].len() {
            part += 1;
            row = 0;
            continue;
        }
        all[at] = parts[part][row];
        row += 1;
        at += 1;
    }
    all
}
