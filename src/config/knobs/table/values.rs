//! Bounds, and forms in words, that several rows share.

use std::time::Duration;

pub(super) const KIB: u32 = 1024;
pub(super) const MIB: u32 = 1024 * KIB;
/// RFC 9113 section 6.5.2: SETTINGS_MAX_FRAME_SIZE, 2^14 to 2^24 - 1.
pub(super) const FRAME_MAX: u32 = 16 * MIB - 1;
/// RFC 9113 section 6.9.2: a window begins at 2^16 - 1. Smaller ones slow every call and save little.
pub(super) const WINDOW_MIN: u32 = 65_535;
/// RFC 9113 section 6.9.1: no window may be larger.
pub(super) const WINDOW_MAX: u32 = 0x7fff_ffff;

/// Sizes are 32 bits wide.
pub(super) const BUFFERED_MAX: u32 = 2047 * MIB;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const MONTH: Duration = Duration::from_secs(30 * 86_400);

pub(super) const ENDPOINT: &str = "an IP address or host name and a port, or a Unix socket, such as \"10.0.0.7:50051\", \"echo.internal:50051\" or \"unix:///run/echo.sock\"";
pub(super) const MODE: &str = "permissions in octal digits, such as \"0660\"";
pub(super) const CHANGED: &str = "the name of a header field that is not of a connection, nor of gRPC";
pub(super) const CIDR: &str =
    "a block of addresses, such as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address";
pub(super) const CLUSTER: &str = "the name of a cluster";
pub(super) const FILE: &str = "the path of a file";
pub(super) const FOLDER: &str = "the path of a folder";
pub(super) const HEADER: &str = "the name of a header field";
pub(super) const ORIGIN: &str =
    "an origin, such as \"https://app.example.com\" or \"http://localhost:3000\", or \"*\" for every one";
pub(super) const NAME: &str = "1 to 200 characters without control characters";
pub(super) const SERVICE: &str = "a service's full name, such as \"bench.v1.Echo\"";
pub(super) const PATH: &str = "a service and a method, such as \"/bench.v1.Echo/Unary\"";

pub(super) const PEM_FILE: &str = "the path of a PEM file";
pub(super) const CERTIFICATE_HASH: &str = "the SHA-256 of a certificate, in 64 hexadecimal digits";
pub(super) const SAN: &str = "1 to 2048 characters without control characters";
pub(super) const VERSIONS: [&str; 2] = ["TLSv1_2", "TLSv1_3"];
pub(super) const SUITE: &str =
    "IANA's name of a suite of TLS 1.3, or of one of ECDHE with AES-GCM or ChaCha20-Poly1305";
pub(super) const GROUP: &str = "\"X25519MLKEM768\", \"X25519\", \"P-256\" or \"P-384\"";
