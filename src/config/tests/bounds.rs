//! Bounds of whole numbers and sizes, each of which is taken, and one beyond it refused.

use super::super::knobs::{KNOBS, Kind};
use super::{CERTIFICATE, cluster, errors, listener, parsed, route, top};

#[test]
fn every_bound_is_taken_and_one_more_is_not() {
    // The windows are bound to each other, too, and so are the waits before connecting.
    let coupled = |name: &str| name.ends_with("window_size") || name.ends_with("_backoff");
    for knob in KNOBS.iter().filter(|knob| !coupled(knob.name())) {
        let (low, high) = match knob.kind {
            Kind::Count { min, max, .. }
            | Kind::Size { min, max, .. }
            | Kind::PowerOfTwo { min, max, .. } => (i64::from(min), i64::from(max)),
            Kind::CountOrAuto { min, max } => (i64::from(min), i64::from(max)),
            _ => continue,
        };
        let file = |value: i64| match knob.key.split_once('.') {
            None => top(&format!("{} = {value}", knob.key)),
            Some(("listeners", key)) if key.starts_with("tls.") => {
                listener(&format!("{key} = {value}\n{CERTIFICATE}"))
            }
            Some(("listeners", key)) => {
                listener(&format!("trusted_cidrs = [\"10.0.0.0/8\"]\n{key} = {value}"))
            }
            Some(("clusters", key)) if key.starts_with("methods.hedging.") => cluster(&format!(
                "[[clusters.methods]]\npath = \"/a/b\"\nidempotent = true\n{} = {value}",
                key.trim_start_matches("methods.")
            )),
            Some(("clusters", key)) if key.starts_with("methods.") => cluster(&format!(
                "[[clusters.methods]]\npath = \"/a/b\"\n{} = {value}",
                key.trim_start_matches("methods.")
            )),
            Some(("routes", key)) if key.starts_with("direct_response.") => {
                route(&format!("{key} = {value}"))
            }
            Some(("routes", key)) if key.starts_with("hedging.") => {
                let methods = "[[clusters.methods]]\npath = \"/a/b\"\nidempotent = true\n";
                format!("{}{methods}", route(&format!("cluster = \"echo\"\n{key} = {value}")))
            }
            Some(("routes", key))
                if ["rate_limit.", "fault.", "retry.", "breaker."].iter().any(|it| key.starts_with(it)) =>
            {
                route(&format!("cluster = \"echo\"\n{key} = {value}"))
            }
            Some(("jwt_providers", key)) => top(&format!(
                "[[jwt_providers]]\nname = \"p\"\nissuer = \"i\"\nremote_jwks.uri = \"http://h/\"\n{key} = {value}"
            )),
            Some(("clusters", key)) => cluster(&format!("{key} = {value}")),
            Some(("routes", key)) if key.starts_with("rate_limits.") => route(&format!(
                "cluster = \"echo\"\n[[routes.rate_limits]]\nkey = \"api_key\"\n{} = {value}",
                key.trim_start_matches("rate_limits.")
            )),
            Some(("routes", key)) if key.starts_with("request_mirror_policies.") => route(&format!(
                "cluster = \"echo\"\n[[routes.request_mirror_policies]]\ncluster = \"echo\"\n{} = {value}",
                key.trim_start_matches("request_mirror_policies.")
            )),
            Some(("routes", key)) if key.starts_with("ext_authz.") => {
                route(&format!("cluster = \"echo\"\next_authz.cluster = \"echo\"\n{key} = {value}"))
            }
            Some(("routes", _)) => route(&format!(
                "weighted_clusters = [{{ name = \"echo\", weight = {value} }}, {{ name = \"b\" }}]\n\
                 [[clusters]]\nname = \"b\"\nendpoints = [\"b:1\"]"
            )),
            Some(_) => top(&format!("{} = {value}", knob.key)),
        };
        parsed(&file(low));
        parsed(&file(high));
        for outside in [low - 1, high + 1] {
            let errors = errors(&file(outside));
            let wanted = format!("{} = {outside}: must be {}", knob.key, knob.wanted());
            assert!(errors.len() == 1 && errors[0].ends_with(&wanted), "{errors:?}");
        }
    }
}
