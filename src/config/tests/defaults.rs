//! Defaults of keys that a file does not set.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{
    AccessLog, Admin, Admission, AllowOrigins, Backend, Breaker, ClientKeepalive, Cluster, Compatibility,
    Compression, Config, ConnectionAge, Cors, CpuPolicy, Dns, Effective, Endpoint, Forwarding,
    GrpcCompression, Http2, Io, Keepalive, LbPolicy, Listener, Match, Metrics, OnBadRule, OnUnavailable,
    OutlierDetection, Overload, PathMatch, Places, Pool, PrintOptions, Reconnect, Retry, RetryBudget, Route,
    RouteActions, RoutePolicies, ServerTiming, SlowStart, Transcoding, WeightedCluster, Workers,
};
use super::{parsed, top};

const SECOND: Duration = Duration::from_secs(1);
const KIB: u32 = 1024;

#[test]
fn everything_has_a_default() {
    let wanted = Config {
        workers: Workers::Auto,
        cpu_policy: CpuPolicy::All,
        io: Io {
            backend: Backend::Auto,
            entries: 4096,
            on_unavailable: OnUnavailable::Fallback,
            sqpoll_idle: None,
            busy_poll: None,
        },
        admin: Admin { address: "127.0.0.1:9901".parse().unwrap(), allowed_hosts: Vec::new(), tap: true },
        dns: Dns {
            servers: Vec::new(),
            refresh_rate: 30 * SECOND,
            min_refresh_rate: SECOND,
            timeout: 5 * SECOND,
            max_addresses: 256,
            required: false,
        },
        metrics: Metrics::default(),
        access_log: AccessLog::default(),
        tracing: None,
        drain_timeout: 30 * SECOND,
        overload: Overload {
            max_active_calls: 65_536,
            max_buffered_bytes: 256 * 1024 * KIB,
            max_loop_delay: Some(SECOND / 2),
            interval: SECOND,
        },
        listeners: vec![default_listener()],
        routes: vec![Route {
            name: "prefix:/".to_owned(),
            matching: Match { path: PathMatch::Prefix("/".to_owned()), ..Match::default() },
            clusters: vec![WeightedCluster { cluster: 0, weight: 1 }],
            timeout: Some(5 * SECOND),
            max_stream_duration: None,
            idle_timeout: Some(300 * SECOND),
            rate_limit: None,
            policies: RoutePolicies::default(),
            actions: RouteActions::default(),
        }],
        clusters: vec![default_cluster()],
        jwt_providers: Vec::new(),
        transcoding: default_transcoding(),
        directory: PathBuf::new(),
        files: Vec::new(),
        effective: Effective::default(),
        places: Places::default(),
    };
    assert_eq!(parsed(&top("")), wanted);
    assert_ne!(parsed(&top("workers = 2")), wanted);
}

pub(super) fn default_listener() -> Listener {
    Listener {
        address: std::net::SocketAddr::from(([127, 0, 0, 1], 8080)).into(),
        mode: None,
        backlog: 4096,
        max_connections: 65_536,
        balance_connections: true,
        reuse_port: false,
        handshake_timeout: 10 * SECOND,
        idle_timeout: 300 * SECOND,
        age: ConnectionAge { max: None, jitter: 0.1, grace: None },
        write_timeout: 30 * SECOND,
        max_unread_body_size: 256 * KIB,
        read_timeout: 60 * SECOND,
        min_rate: 256,
        max_buffered_bytes: 16 * 1024 * KIB,
        server_timing: ServerTiming::OnRequest,
        https_redirect_port: 0,
        http2: Http2 {
            max_concurrent_streams: 256,
            initial_stream_window_size: 128 * KIB,
            initial_connection_window_size: 16 * 1024 * KIB,
            max_frame_size: 16 * KIB,
            max_header_list_size: 16 * KIB,
            max_headers_count: 100,
            max_send_buffer_size: 256 * KIB,
            max_resets_per_second: 1000,
            max_pings_per_second: 100,
            max_settings_per_second: 100,
            max_empty_frames_per_second: 1000,
            max_window_updates_per_second: 50_000,
            max_priority_frames_per_second: 1000,
            max_continuations: 32,
            keepalive: ClientKeepalive { interval: None, timeout: 20 * SECOND },
        },
        cors: Cors {
            allow_origins: AllowOrigins::These(Vec::new()),
            allow_headers: Vec::new(),
            expose_headers: Vec::new(),
            max_age: 24 * 3600 * SECOND,
        },
        forwarding: Forwarding::default(),
        proxy_protocol: None,
        admission: Admission::default(),
        tls: None,
    }
}

pub(super) fn default_transcoding() -> Transcoding {
    Transcoding {
        descriptor_sets: Vec::new(),
        protos: Vec::new(),
        proto_paths: Vec::new(),
        reflection: Vec::new(),
        reflection_interval: 60 * SECOND,
        services: Vec::new(),
        auto_mapping: true,
        on_bad_rule: OnBadRule::Skip,
        max_request_body_size: 4096 * KIB,
        max_response_message_size: 4096 * KIB,
        compression: Compression { algorithms: Vec::new(), min_content_length: KIB, max_streams: 100 },
        grpc_compression: GrpcCompression { accept: Vec::new(), request: None, min_message_length: KIB },
        ignore_unknown_fields: false,
        ignore_unknown_query_parameters: false,
        service_configs: Vec::new(),
        compatibility: Compatibility::default(),
        print_options: PrintOptions::default(),
    }
}

pub(super) fn default_cluster() -> Cluster {
    Cluster {
        name: "echo".to_owned(),
        endpoints: vec![Endpoint::Tcp { host: "10.0.0.7".to_owned(), port: 50051 }],
        lb_policy: LbPolicy::LeastRequest,
        connect_timeout: SECOND,
        sends_proxy_protocol: false,
        max_requests: 1024,
        max_pending_requests: 1024,
        pool: Pool {
            max_connections_per_endpoint: 8,
            max_streams_per_connection: 100,
            max_requests_per_connection: 500_000_000,
            age: ConnectionAge { max: None, jitter: 0.1, grace: None },
            initial_stream_window_size: 128 * KIB,
            initial_connection_window_size: 16 * 1024 * KIB,
            max_frame_size: 64 * KIB,
            max_header_list_size: 64 * KIB,
            max_send_buffer_size: 256 * KIB,
            min_rate: 256,
            replay_buffer_size: 64 * KIB,
        },
        keepalive: Keepalive {
            interval: 30 * SECOND,
            interval_without_data: 310 * SECOND,
            timeout: 5 * SECOND,
            without_calls: false,
        },
        reconnect: Reconnect {
            initial_backoff: SECOND / 10,
            backoff_multiplier: 1.6,
            max_backoff: 10 * SECOND,
        },
        methods: Vec::new(),
        max_connections: 1024,
        timeout: None,
        service_config: None,
        healthy_panic_threshold: 50,
        retry: Retry::default(),
        retry_budget: RetryBudget::default(),
        breaker: Some(Breaker::default()),
        route_breakers: Vec::new(),
        outlier_detection: Some(OutlierDetection::default()),
        slow_start: SlowStart::default(),
        adaptive_timeout: None,
        health_checks: None,
        tls: None,
    }
}
