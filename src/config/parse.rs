//! A TOML tree to checked types: the file, its listeners and its clusters. Routes are in [`routes`].

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::checks::{check_backoffs, refuse_second};
use super::effective::Effective;
use super::places::Places;
use super::reader::Table;
use super::{
    Admin, Backend, ClientKeepalive, Cluster, Config, ConnectionAge, CpuPolicy, Dns, EndpointAddress, Http2,
    Io, Keepalive, LbPolicy, Listener, OnUnavailable, Override, Pool, Route, ServerTiming, Tracing,
};
use super::{
    JwtProvider, Reconnect, Workers, certificates, edge, forms, guards, logs, policies, routes, transcoding,
};

/// The most entries of a ring's queue that one connection takes at once.
const SUBMISSIONS_OF_A_CONNECTION: u32 = 4;

/// The whole file. `None` only if something was reported.
pub(super) fn config(root: &Table<'_>, directory: &Path) -> Option<Config> {
    let workers = root.count_or_auto("workers").map_or(Workers::Auto, Workers::Count);
    let cpu_policy = root.text("cpu_policy", forms::cpu_policy).map_or(CpuPolicy::All, |(policy, _)| policy);
    let drain_timeout = root.time("drain_timeout");
    let io = io(&root.table("io"));
    let admin_table = root.table("admin");
    let admin = admin_table.address("address");
    let allowed_hosts = transcoding::unique(&admin_table, "allowed_hosts", forms::allowed_host);
    let overload = policies::overload(&root.table("overload"));
    let dns = dns(&root.table("dns"));
    let metrics = logs::metrics(&root.table("metrics"));
    let access_log = logs::access_log(&root.table("access_log"));
    let tracing = tracing(&root.table("tracing"));
    let listener_tables = root.tables("listeners");
    let listeners: Vec<Option<Listener>> = listener_tables.iter().map(listener).collect();
    check_addresses(&admin_table, &listener_tables);
    check_io(&root.table("io"), &io, &listeners);

    let cluster_tables = root.tables("clusters");
    let clusters: Vec<Option<Cluster>> = cluster_tables.iter().map(cluster).collect();
    let names = cluster_names(&cluster_tables);
    let (jwt_providers, providers) = guards::providers(root);
    let routes = routes::read(root, (&names, &clusters), &providers);
    let transcoding = transcoding::read(&root.table("transcoding"), &names);
    let jwt_providers: Vec<JwtProvider> = jwt_providers.into_iter().collect::<Option<_>>()?;
    let routes = routes?;
    let of_clusters = cluster_tables.iter().filter_map(policies::service_config_file);
    Some(Config {
        workers,
        cpu_policy,
        io,
        admin: Admin { address: admin?, allowed_hosts, tap: admin_table.flag("tap") },
        dns,
        metrics,
        access_log,
        tracing,
        drain_timeout,
        overload,
        listeners: listeners.into_iter().collect::<Option<_>>()?,
        files: of_clusters.chain(guards::files(&jwt_providers, &routes)).collect(),
        clusters: with_route_breakers(clusters.into_iter().collect::<Option<_>>()?, &routes),
        routes,
        jwt_providers,
        transcoding,
        directory: directory.to_owned(),
        effective: Effective::default(),
        places: Places::default(),
    })
}

/// The clusters, each with the breakers of routes that lead to it.
fn with_route_breakers(mut clusters: Vec<Cluster>, routes: &[Route]) -> Vec<Cluster> {
    for route in routes {
        let Some(Override::Own(breaker)) = &route.actions.breaker else { continue };
        for choice in &route.clusters {
            clusters[choice.cluster].route_breakers.push((route.name.clone(), breaker.clone()));
        }
    }
    clusters
}

fn io(table: &Table<'_>) -> Io {
    Io {
        backend: match table.word("backend") {
            "io_uring" => Backend::IoUring,
            "epoll" => Backend::Epoll,
            _ => Backend::Auto,
        },
        entries: table.power_of_two("entries"),
        on_unavailable: match table.word("on_unavailable") {
            "fail" => OnUnavailable::Fail,
            _ => OnUnavailable::Fallback,
        },
        sqpoll_idle: table.time_or_none("sqpoll_idle"),
        busy_poll: table.time_or_none("busy_poll"),
    }
}

fn dns(table: &Table<'_>) -> Dns {
    let dns = Dns {
        servers: table.list("servers", forms::name_server).into_iter().map(|(server, _)| server).collect(),
        refresh_rate: table.time("refresh_rate"),
        min_refresh_rate: table.time("min_refresh_rate"),
        timeout: table.time("timeout"),
        max_addresses: table.count("max_addresses"),
        required: table.flag("required"),
    };
    if dns.refresh_rate < dns.min_refresh_rate
        && let Some(value) = table.value("refresh_rate").or_else(|| table.value("min_refresh_rate"))
    {
        let hint = format!("they are {:?} and {:?}", dns.refresh_rate, dns.min_refresh_rate);
        value.refuse("refresh_rate must not be below min_refresh_rate", Some(hint));
    }
    dns
}

/// Checks that ring options fit the back-end, and that the ring fits the connections.
fn check_io(table: &Table<'_>, io: &Io, listeners: &[Option<Listener>]) {
    if io.backend == Backend::Epoll {
        for value in ["sqpoll_idle", "busy_poll"].into_iter().filter_map(|name| table.value(name)) {
            if !matches!(value.it.as_str(), Some("0s" | "0ms" | "0us")) {
                value.refuse("needs io_uring, and io.backend is \"epoll\"", None);
            }
        }
    }
    // Without SQPOLL, a worker can make room in a full queue by submitting. The kernel's thread takes its time. So its
    // queue must hold all that connections can have in flight: a receive, a send, and their cancels.
    let connections: u32 =
        listeners.iter().flatten().fold(0, |sum, listener| sum.saturating_add(listener.max_connections));
    let needed = connections.saturating_mul(SUBMISSIONS_OF_A_CONNECTION);
    if let Some(value) = io.sqpoll_idle.and_then(|_| table.value("sqpoll_idle"))
        && io.entries < needed
    {
        value.refuse(
            format!("needs {SUBMISSIONS_OF_A_CONNECTION} io.entries for each connection, and {connections} are allowed"),
            Some(format!(
                "with io.entries = {0}, all listeners.max_connections may add up to {1}",
                io.entries,
                io.entries / SUBMISSIONS_OF_A_CONNECTION
            )),
        );
    }
}

fn tracing(table: &Table<'_>) -> Option<Tracing> {
    let tracing = Tracing {
        endpoint: String::new(),
        sample: table.ratio("sample"),
        service_name: table
            .text("service_name", forms::service_name)
            .map_or("ringway".into(), |(name, _)| name),
        queue_spans: table.power_of_two("queue_spans"),
        batch_spans: table.count("batch_spans"),
        interval: table.time("interval"),
        timeout: table.time("timeout"),
        tls: None,
    };
    let (endpoint, _) = table.text("endpoint", forms::collector)?;
    let tls = certificates::of_uri(table, endpoint.starts_with("https://"));
    Some(Tracing { endpoint, tls, ..tracing })
}

fn listener(table: &Table<'_>) -> Option<Listener> {
    let address = table.address_or_unix("address");
    let http2 = table.table("http2");
    let (initial_stream_window_size, initial_connection_window_size) = windows(&http2);
    let listener = Listener {
        address: address.unwrap_or_else(|| std::net::SocketAddr::from(([0, 0, 0, 0], 0)).into()),
        mode: edge::mode(table, address),
        backlog: table.count("backlog"),
        max_connections: table.count("max_connections"),
        balance_connections: table.flag("balance_connections"),
        reuse_port: table.flag("reuse_port"),
        handshake_timeout: table.time("handshake_timeout"),
        idle_timeout: table.time("idle_timeout"),
        age: ConnectionAge { grace: table.time_or_none("max_connection_age_grace"), ..connection_age(table) },
        write_timeout: table.time("write_timeout"),
        max_unread_body_size: table.size("max_unread_body_size"),
        read_timeout: table.time("read_timeout"),
        min_rate: table.size("min_rate"),
        max_buffered_bytes: table.size("max_buffered_bytes"),
        server_timing: match table.word("server_timing") {
            "off" => ServerTiming::Off,
            "always" => ServerTiming::Always,
            _ => ServerTiming::OnRequest,
        },
        http2: Http2 {
            max_concurrent_streams: http2.count("max_concurrent_streams"),
            initial_stream_window_size,
            initial_connection_window_size,
            max_frame_size: http2.size("max_frame_size"),
            max_header_list_size: http2.size("max_header_list_size"),
            max_headers_count: http2.count("max_headers_count"),
            max_send_buffer_size: http2.size("max_send_buffer_size"),
            max_resets_per_second: http2.count("max_resets_per_second"),
            max_pings_per_second: http2.count("max_pings_per_second"),
            max_settings_per_second: http2.count("max_settings_per_second"),
            max_empty_frames_per_second: http2.count("max_empty_frames_per_second"),
            max_window_updates_per_second: http2.count("max_window_updates_per_second"),
            max_priority_frames_per_second: http2.count("max_priority_frames_per_second"),
            max_continuations: http2.count("max_continuations"),
            keepalive: ClientKeepalive {
                interval: http2.time_or_none("keepalive_interval"),
                timeout: http2.time("keepalive_timeout"),
            },
        },
        https_redirect_port: edge::https_redirect_port(table),
        cors: transcoding::cors(&table.table("cors")),
        forwarding: edge::forwarding(table),
        proxy_protocol: edge::proxy_protocol(table),
        admission: edge::admission(table),
        tls: certificates::listener(table),
    };
    address.map(|_| listener)
}

/// How old connections may become; as long as they like to finish.
fn connection_age(table: &Table<'_>) -> ConnectionAge {
    ConnectionAge {
        max: table.time_or_none("max_connection_age"),
        jitter: table.ratio("max_connection_age_jitter"),
        grace: None,
    }
}

/// The windows of a stream and of a connection. A connection's window below a stream's would make the latter a lie.
fn windows(table: &Table<'_>) -> (u32, u32) {
    let stream = table.size("initial_stream_window_size");
    let connection = table.size("initial_connection_window_size");
    if connection < stream {
        let set = table
            .value("initial_connection_window_size")
            .or_else(|| table.value("initial_stream_window_size"));
        if let Some(value) = set {
            let wanted = "initial_connection_window_size must not be below initial_stream_window_size";
            value.refuse(wanted, Some(format!("they are {connection} and {stream} bytes")));
        }
    }
    (stream, connection)
}

/// No two listeners on one address, nor one on the operators'. Port 0 is a new one each time.
fn check_addresses(admin: &Table<'_>, listeners: &[Table<'_>]) {
    let mut taken = HashMap::new();
    let written = std::iter::once(admin).chain(listeners).filter_map(|table| {
        let value = table.value("address");
        let text = value.as_ref()?.it.as_str()?;
        let address = match forms::unix_socket(text) {
            Some(path) => EndpointAddress::Unix(path.ok()?),
            None => text.parse::<std::net::SocketAddr>().ok()?.into(),
        };
        Some((address, value))
    });
    // The operators' address counts even if it is not written down.
    let default = match admin.value("address") {
        None => admin.address("address").map(|address| (address.into(), None)),
        Some(_) => None,
    };
    let is_fixed = |address: EndpointAddress| address.tcp().is_none_or(|address| address.port() != 0);
    for (address, value) in default.into_iter().chain(written).filter(|(address, _)| is_fixed(*address)) {
        let Some(value) = value else {
            taken.insert(address, "the default of admin.address".to_owned());
            continue;
        };
        match taken.get(&address) {
            Some(by) => {
                let hint = "each has an address of its own".to_owned();
                value.refuse(format!("already taken by {by}"), Some(hint));
            }
            None => {
                taken.insert(address, format!("{} on line {}", value.key, value.line()));
            }
        }
    }
}

/// The position of each name. Names used twice and missing ones are reported.
fn cluster_names(tables: &[Table<'_>]) -> HashMap<String, usize> {
    let mut names = HashMap::new();
    let mut lines = HashMap::new();
    for (position, table) in tables.iter().enumerate() {
        if let Some((name, value)) = table.needed("name", forms::cluster_name) {
            refuse_second(&mut lines, &name, &value);
            names.entry(name).or_insert(position);
        }
    }
    names
}

fn cluster(table: &Table<'_>) -> Option<Cluster> {
    let mut seen = HashSet::new();
    let endpoints = table.list("endpoints", forms::endpoint);
    for (endpoint, value) in &endpoints {
        if !seen.insert(endpoint) {
            value.refuse(
                "must be unique",
                Some("an endpoint listed twice would get twice the connections".to_owned()),
            );
        }
    }
    let methods = policies::methods(table);
    let (retry, retry_budget) = policies::retry(&table.table("retry"));
    let cluster = Cluster {
        name: String::new(),
        endpoints: endpoints.into_iter().map(|(endpoint, _)| endpoint).collect(),
        lb_policy: match table.word("lb_policy") {
            "round_robin" => LbPolicy::RoundRobin,
            _ => LbPolicy::LeastRequest,
        },
        connect_timeout: table.time("connect_timeout"),
        sends_proxy_protocol: table.word("proxy_protocol") == "v2",
        max_requests: table.count("max_requests"),
        max_pending_requests: table.count("max_pending_requests"),
        pool: pool(&table.table("pool")),
        keepalive: keepalive(&table.table("keepalive")),
        reconnect: reconnect(&table.table("reconnect")),
        service_config: policies::service_config(table, &methods),
        methods,
        max_connections: table.count("max_connections"),
        timeout: table.time_if_set("timeout", "leave it out for the timeouts of the routes"),
        healthy_panic_threshold: table.count("healthy_panic_threshold"),
        retry,
        retry_budget,
        breaker: policies::breaker_unless_off(&table.table("breaker")),
        route_breakers: Vec::new(),
        outlier_detection: policies::outlier_detection(&table.table("outlier_detection")),
        slow_start: policies::slow_start(&table.table("slow_start")),
        adaptive_timeout: policies::adaptive_timeout(table),
        health_checks: policies::health_checks(table),
        tls: certificates::cluster(table),
    };
    // `cluster_names` reports what is wrong with the name.
    let name = table.value("name")?.it.as_str()?.to_owned();
    Some(Cluster { name, ..cluster })
}

fn pool(table: &Table<'_>) -> Pool {
    let (initial_stream_window_size, initial_connection_window_size) = windows(table);
    Pool {
        max_connections_per_endpoint: table.count("max_connections_per_endpoint"),
        max_streams_per_connection: table.count("max_streams_per_connection"),
        max_requests_per_connection: table.count("max_requests_per_connection"),
        age: connection_age(table),
        initial_stream_window_size,
        initial_connection_window_size,
        max_frame_size: table.size("max_frame_size"),
        max_header_list_size: table.size("max_header_list_size"),
        max_send_buffer_size: table.size("max_send_buffer_size"),
        min_rate: table.size("min_rate"),
        replay_buffer_size: table.size("replay_buffer_size"),
    }
}

fn keepalive(table: &Table<'_>) -> Keepalive {
    let why = "gRPC servers answer faster pings with GOAWAY too_many_pings, which ends the connection";
    Keepalive {
        interval: table.time_because("interval", Some(why)),
        interval_without_data: table.time_because("interval_without_data", Some(why)),
        timeout: table.time("timeout"),
        without_calls: table.flag("without_calls"),
    }
}

fn reconnect(table: &Table<'_>) -> Reconnect {
    let reconnect = Reconnect {
        initial_backoff: table.time("initial_backoff"),
        backoff_multiplier: table.ratio("backoff_multiplier"),
        max_backoff: table.time("max_backoff"),
    };
    check_backoffs(table, reconnect.initial_backoff, reconnect.max_backoff);
    reconnect
}
