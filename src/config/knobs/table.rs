//! The table of knobs, in the order of the file. Each part of the file has its rows in a file of its own.

mod clusters;
mod listeners;
mod process;
mod routes;
mod transcoding;

use std::time::Duration;

use super::knob::Knob;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;
/// RFC 9113 section 6.5.2: SETTINGS_MAX_FRAME_SIZE, 2^14 to 2^24 - 1.
const FRAME_MAX: u32 = 16 * MIB - 1;
/// RFC 9113 section 6.9.2: a window begins at 2^16 - 1. Smaller ones slow every call and save little.
const WINDOW_MIN: u32 = 65_535;
/// RFC 9113 section 6.9.1: no window may be larger.
const WINDOW_MAX: u32 = 0x7fff_ffff;

/// Sizes are 32 bits wide.
const BUFFERED_MAX: u32 = 2047 * MIB;

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Every key there is, in the order of the file.
pub const KNOBS: &[Knob] = &ALL;

const PARTS: [&[Knob]; 5] = [process::ROWS, listeners::ROWS, transcoding::ROWS, routes::ROWS, clusters::ROWS];

const ALL: [Knob; count(&PARTS)] = joined(&PARTS);

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

const ENDPOINT: &str =
    "an IP address or host name and a port, such as \"10.0.0.7:50051\" or \"echo.internal:50051\"";
const CLUSTER: &str = "the name of a cluster";
const FILE: &str = "the path of a file or directory";
const HEADER: &str = "the name of a header field";
const ORIGIN: &str =
    "an origin, such as \"https://app.example.com\" or \"http://localhost:3000\", or \"*\" for every one";
const NAME: &str = "1 to 200 characters without control characters";
const SERVICE: &str = "a service's full name, such as \"bench.v1.Echo\"";
const PATH: &str = "a service and a method, such as \"/bench.v1.Echo/Unary\"";
