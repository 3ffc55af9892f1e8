//! Findings of `ringway check` about the certificates of TLS.
#![allow(clippy::disallowed_methods, reason = "a certificate is good or not on a day of the calendar")]

use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::tls::{CertificateInfo, Contexts, Problem};

const DAY: i64 = 86_400;

/// A certificate that expires sooner is worth a warning: whoever renews them does so earlier.
const DAYS_LEFT: i64 = 14;

/// Reads all files of TLS. Gives what is not wrong and worth a warning.
///
/// # Errors
/// The file that cannot be used, and the reason.
pub(super) fn examine(config: &Config) -> Result<Vec<String>, Problem> {
    let contexts = Contexts::load(config, None)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let listeners = contexts.listeners.iter().flatten().flat_map(|context| context.certificates());
    let clusters = contexts.clusters.iter().flatten().flat_map(|context| context.certificates());
    let mut warnings: Vec<String> = Vec::new();
    for info in listeners.chain(clusters) {
        warnings.extend(concerns(info, now).into_iter().map(|it| format!("{}: {it}", info.file.display())));
    }
    warnings.dedup();
    Ok(warnings)
}

fn concerns(info: &CertificateInfo, now: i64) -> Vec<String> {
    let mut all = Vec::new();
    let days = (info.not_after - now) / DAY;
    if info.not_after <= now {
        all.push("the certificate has expired: no client will take it".to_owned());
    } else if now < info.not_before {
        all.push("the certificate is not valid yet".to_owned());
    } else if days < DAYS_LEFT {
        all.push(format!("the certificate expires in {days} days"));
    }
    if !info.is_in_order {
        all.push("each certificate of the file has to be issued by the next: some clients will find no way to a root".to_owned());
    }
    if info.is_rsa {
        all.push("an RSA key: its handshakes cost several times as much as those of an ECDSA key".to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_a_warning_is_said() {
        let good = CertificateInfo {
            file: "tls.crt".into(),
            not_before: 0,
            not_after: 100 * DAY,
            is_rsa: false,
            is_in_order: true,
            dns_names: Vec::new(),
            uris: Vec::new(),
        };
        assert_eq!(concerns(&good, 10 * DAY), [""; 0]);
        assert_eq!(concerns(&good, 90 * DAY), ["the certificate expires in 10 days"]);
        assert!(concerns(&good, 100 * DAY)[0].contains("has expired"));
        assert!(concerns(&good, -DAY)[0].contains("not valid yet"));
        let odd = CertificateInfo { is_rsa: true, is_in_order: false, ..good };
        assert_eq!(concerns(&odd, 0).len(), 2);
    }
}
