//! Text to checked types: policies against services that fail.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::checks::{check_backoffs, refuse_second};
use super::forms;
use super::reader::Table;
use super::{
    AdaptiveTimeout, Breaker, HealthChecks, Hedging, Method, OutlierDetection, Overload, RateLimit, Retry,
    RetryBudget,
};
use super::{ServiceConfig, SlowStart};

/// The largest service config that is read.
const SERVICE_CONFIG_BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn overload(table: &Table<'_>) -> Overload {
    Overload {
        max_active_calls: table.count("max_active_calls"),
        max_buffered_bytes: table.size("max_buffered_bytes"),
        max_loop_delay: table.time_or_none("max_loop_delay"),
        interval: table.time("interval"),
    }
}

pub(super) fn rate_limit(route: &Table<'_>) -> Option<RateLimit> {
    let table = route.table_if_set("rate_limit")?;
    Some(RateLimit {
        max_tokens: table.count("max_tokens"),
        tokens_per_fill: table.count("tokens_per_fill"),
        fill_interval: table.time("fill_interval"),
    })
}

pub(super) fn retry(table: &Table<'_>) -> (Retry, RetryBudget) {
    let retry = retry_of(table);
    check_backoffs(table, retry.initial_backoff, retry.max_backoff);
    let budget = RetryBudget {
        percent: table.count("budget_percent"),
        min_retries: table.count("budget_min_retries"),
    };
    (retry, budget)
}

/// The retry policy alone.
pub(super) fn retry_of(table: &Table<'_>) -> Retry {
    Retry {
        max_attempts: table.count("max_attempts"),
        initial_backoff: table.time("initial_backoff"),
        backoff_multiplier: table.ratio("backoff_multiplier"),
        max_backoff: table.time("max_backoff"),
        retryable_status_codes: table.codes("retryable_status_codes"),
    }
}

pub(super) fn breaker_unless_off(table: &Table<'_>) -> Option<Breaker> {
    let breaker = breaker(table);
    table.flag("enabled").then_some(breaker)
}

fn breaker(table: &Table<'_>) -> Breaker {
    Breaker {
        max_requests: table.count("max_requests"),
        interval: table.time("interval"),
        timeout: table.time("timeout"),
        min_requests: table.count("min_requests"),
        failure_ratio: table.ratio("failure_ratio"),
        ramp: table.time("ramp"),
        failure_status_codes: table.codes("failure_status_codes"),
    }
}

pub(super) fn outlier_detection(table: &Table<'_>) -> Option<OutlierDetection> {
    let outliers = OutlierDetection {
        consecutive_gateway_failure: table.count("consecutive_gateway_failure"),
        consecutive_local_origin_failure: table.count("consecutive_local_origin_failure"),
        base_ejection_time: table.time("base_ejection_time"),
        max_ejection_time: table.time("max_ejection_time"),
        max_ejection_percent: table.count("max_ejection_percent"),
        interval: table.time("interval"),
    };
    table.flag("enabled").then_some(outliers)
}

pub(super) fn slow_start(table: &Table<'_>) -> SlowStart {
    SlowStart {
        window: table.time("window"),
        aggression: table.ratio("aggression"),
        min_weight_percent: table.count("min_weight_percent"),
    }
}

pub(super) fn adaptive_timeout(cluster: &Table<'_>) -> Option<AdaptiveTimeout> {
    let table = cluster.table_if_set("adaptive_timeout")?;
    Some(AdaptiveTimeout {
        percentile: table.ratio("percentile"),
        multiplier: table.ratio("multiplier"),
        floor: table.time("floor"),
        window: table.time("window"),
    })
}

pub(super) fn health_checks(cluster: &Table<'_>) -> Option<HealthChecks> {
    let table = cluster.table_if_set("health_checks")?;
    Some(HealthChecks {
        interval: table.time("interval"),
        timeout: table.time("timeout"),
        unhealthy_threshold: table.count("unhealthy_threshold"),
        healthy_threshold: table.count("healthy_threshold"),
        service: table.text("service", forms::service).map_or(String::new(), |(service, _)| service),
    })
}

pub(super) fn methods(cluster: &Table<'_>) -> Vec<Method> {
    let mut lines = HashMap::new();
    let mut methods = Vec::new();
    for table in cluster.tables("methods") {
        let why = "leave it out for the route's timeout; if the method has none, write the longest";
        let timeout = table.time_if_set("timeout", why);
        let (unary, idempotent) = (table.flag("unary"), table.flag("idempotent"));
        let hedging = table.table_if_set("hedging").map(|table| hedging_of(&table));
        if let Some(value) = table.value("hedging")
            && !idempotent
        {
            let hint = "a call is sent several times: if that is as good as once, write idempotent = true";
            value.refuse("only for idempotent methods", Some(hint.to_owned()));
        }
        let breaker = table.table_if_set("breaker").map(|table| breaker(&table));
        if let Some((path, value)) = table.needed("path", forms::method_path) {
            refuse_second(&mut lines, &path, &value);
            methods.push(Method { path, timeout, unary, idempotent, hedging, breaker });
        }
    }
    methods
}

pub(super) fn hedging_of(table: &Table<'_>) -> Hedging {
    Hedging {
        max_attempts: table.count("max_attempts"),
        hedging_delay: table.time("hedging_delay"),
        non_fatal_status_codes: table.codes("non_fatal_status_codes"),
    }
}

/// The file of the gRPC service config, if one is named.
pub(super) fn service_config_file(cluster: &Table<'_>) -> Option<PathBuf> {
    Some(cluster.folder().join(cluster.value("service_config")?.it.as_str()?))
}

/// Reads the gRPC service config that is named. `methods` are those that the cluster has settings for.
pub(super) fn service_config(cluster: &Table<'_>, methods: &[Method]) -> Option<ServiceConfig> {
    let (name, value) = cluster.text("service_config", forms::reference)?;
    let read = read(&cluster.folder().join(name)).map_err(|error| format!("cannot be read: {error}"));
    let config = read.and_then(|text| ServiceConfig::parse(&text));
    let config = config.map_err(|wrong| value.refuse(wrong, None)).ok()?;
    // Hedging without an effect would be a surprise.
    let hedged = config.methods.iter().filter(|method| method.hedging.is_some());
    for name in hedged.flat_map(|method| &method.names) {
        if !methods.iter().any(|method| method.idempotent && name.covers(&method.path)) {
            let hint = "a call is sent several times: if that is as good as once, say so of each method, in \
                        [[clusters.methods]] with path and idempotent = true";
            value.refuse(format!("hedges {name}, and only idempotent methods can be"), Some(hint.to_owned()));
        }
    }
    Some(config)
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(SERVICE_CONFIG_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
