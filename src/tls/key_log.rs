//! Writes the keys of connections to a file, where the operator has asked for it: Wireshark reads them.
#![allow(clippy::disallowed_types, reason = "locked by handshakes, and only while somebody debugs")]

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use parking_lot::Mutex;

use super::problem::Problem;

/// A file in the format of NSS. Only its owner may read it.
#[derive(Debug)]
pub(super) struct KeyLog(Mutex<File>);

impl KeyLog {
    pub(super) fn open(path: &Path) -> Result<KeyLog, Problem> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let file = file.map_err(|error| Problem::new(path, format_args!("cannot be written: {error}")))?;
        Ok(KeyLog(Mutex::new(file)))
    }
}

impl rustls::KeyLog for KeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        for (bytes, end) in [(client_random, ' '), (secret, '\n')] {
            for byte in bytes {
                // Writing to a String cannot fail.
                let _ = write!(line, "{byte:02x}");
            }
            line.push(end);
        }
        let mut file = self.0.lock();
        // A full disk must not end connections.
        let _ = file.write_all(line.as_bytes());
    }
}
