//! How names of hosts are asked for.

use std::time::Duration;

use super::super::Dns;
use super::{errors, parsed, top};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn names_are_asked_for_as_it_says() {
    let dns = |text: &str| parsed(&top(&format!("[dns]\n{text}"))).dns;
    let text = "servers = [\"10.0.0.2:53\", \"[::1]:5353\"]\nrefresh_rate = \"2s\"\nmin_refresh_rate = \"10ms\"\n\
                timeout = \"100ms\"\nmax_addresses = 3";
    let wanted = Dns {
        servers: ["10.0.0.2:53", "[::1]:5353"].map(|server| server.parse().unwrap()).into(),
        refresh_rate: 2 * SECOND,
        min_refresh_rate: Duration::from_millis(10),
        timeout: Duration::from_millis(100),
        max_addresses: 3,
        required: false,
    };
    assert_eq!(dns(text), wanted);
    for refused in [
        "servers = [\"10.0.0.2\"]",
        "servers = [\"10.0.0.2:0\"]",
        "servers = [\"ns.internal:53\"]",
        "refresh_rate = \"500ms\"",
        "min_refresh_rate = \"31s\"",
    ] {
        assert_eq!(errors(&top(&format!("[dns]\n{refused}"))).len(), 1, "{refused}");
    }
}
