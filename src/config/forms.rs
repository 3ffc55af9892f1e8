//! Text with a form of its own: names, paths, hosts, header fields.
//!
//! Each function gives the text as the gateway keeps it, or else a hint of the probable remedy.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Cidr, Codes, CpuPolicy, Endpoint, UnixPath, units};

/// The remedy, where it can be guessed.
pub(super) type Hint = Option<&'static str>;

/// The CPUs that workers may take.
pub(super) fn cpu_policy(text: &str) -> Result<CpuPolicy, Hint> {
    match text.split_once(':') {
        None if text == "all" => Ok(CpuPolicy::All),
        None if text == "physical_cores" => Ok(CpuPolicy::PhysicalCores),
        None if text == "numa_node" => Err(Some("say which node: \"numa_node:0\"")),
        Some(("numa_node", node)) => node.parse().map(CpuPolicy::NumaNode).map_err(|_| None),
        _ => Err(Some("leave the key out for all CPUs that the process may use")),
    }
}

/// A name server.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, Hint> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(Some("the port is 1 to 65535")),
        Ok(address) => Ok(address),
        Err(_) if text.parse::<std::net::IpAddr>().is_ok() => Err(Some("add the port, mostly 53")),
        Err(_) => Err(None),
    }
}

/// A block of IP addresses.
pub(super) fn cidr(text: &str) -> Result<Cidr, Hint> {
    let hint = || {
        let (address, prefix) = text.split_once('/')?;
        let address = address.parse::<std::net::IpAddr>().ok()?;
        match (address.is_ipv4(), prefix.parse::<u8>().ok()?) {
            (true, 33..) => Some("an IPv4 address has 32 bits: the prefix is 0 to 32"),
            (false, 129..) => Some("an IPv6 address has 128 bits: the prefix is 0 to 128"),
            _ => Some("the address of a block has no bits below its prefix: \"10.0.0.0/8\""),
        }
    };
    Cidr::parse(text).ok_or_else(hint)
}

/// The name of a cluster.
pub(super) fn cluster_name(text: &str) -> Result<String, Hint> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    match (1..=100).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(None),
    }
}

/// The name of a route.
pub(super) fn route_name(text: &str) -> Result<String, Hint> {
    printable(text, 200)
}

fn printable(text: &str, chars_max: usize) -> Result<String, Hint> {
    match (1..=chars_max).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(None),
    }
}

/// A name that is only looked up; it need not exist.
pub(super) fn reference(text: &str) -> Result<String, Hint> {
    Ok(text.to_owned())
}

/// The path of a file that is written; its opening shows whether it can be.
pub(super) fn path_of_a_file(text: &str) -> Result<String, Hint> {
    match text {
        "" => Err(Some("leave the key out for no access log")),
        text if text.contains('\0') || text.ends_with('/') => Err(None),
        text => Ok(text.to_owned()),
    }
}

/// A name in a certificate, or a part of one.
pub(super) fn san(text: &str) -> Result<String, Hint> {
    printable(text, 2048)
}

/// A host name that TLS asks for.
pub(super) fn server_name(text: &str) -> Result<String, Hint> {
    match match_host(text) {
        Ok(name) if !name.starts_with("*.") => Ok(name),
        _ => Err(None),
    }
}

/// A `strict-transport-security`, by its only directive that must be there (RFC 6797 section 6.1).
pub(super) fn hsts(text: &str) -> Result<String, Hint> {
    let mut directives = text.split(';').map(str::trim);
    let seconds = directives.find_map(|directive| directive.strip_prefix("max-age="));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match seconds.is_some_and(is_number) && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        true => Ok(text.to_owned()),
        false => Err(Some("it needs max-age=SECONDS")),
    }
}

/// A bound of durations on the page of metrics.
pub(super) fn latency_bucket(text: &str) -> Result<Duration, Hint> {
    let bound = units::duration(text).map_err(|_| Some("a number and a unit, such as \"250ms\""))?;
    if bound.subsec_nanos() % 1000 != 0 {
        return Err(Some("whole microseconds are counted"));
    }
    let range = Duration::from_micros(1)..=Duration::from_secs(3600);
    if range.contains(&bound) { Ok(bound) } else { Err(None) }
}

/// Whether a URI asks for TLS, and what follows its scheme.
fn scheme(text: &str) -> Result<(bool, &str), Hint> {
    let secure = text.strip_prefix("https://").map(|rest| (true, rest));
    secure
        .or(text.strip_prefix("http://").map(|rest| (false, rest)))
        .ok_or(Some("it begins with http:// or https://"))
}

/// The collector's address for OTLP, without a slash at the end.
pub(super) fn collector(text: &str) -> Result<String, Hint> {
    let (_, rest) = scheme(text)?;
    let address = rest.strip_suffix('/').unwrap_or(rest);
    if address.contains('/') {
        return Err(Some("leave out the path: OTLP is spoken over gRPC"));
    }
    host_and_port(address).map(|_| text[..text.len() - rest.len()].to_owned() + address)
}

/// Where keys are published: whether over TLS, host and port, and the path.
pub(super) fn jwks_uri(text: &str) -> Result<(bool, String, String), Hint> {
    let (is_secure, rest) = scheme(text)?;
    let (authority, path) = rest.split_once('/').ok_or(Some("the path is missing"))?;
    let has_port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
    let port = if is_secure { 443 } else { 80 };
    let with_port = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
    host_and_port(&with_port)?;
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    is_plain.then(|| (is_secure, with_port, format!("/{path}"))).ok_or(None)
}

/// The name of this gateway in traces.
pub(super) fn service_name(text: &str) -> Result<String, Hint> {
    printable(text, 100)
}

/// A gRPC service's full name.
pub(super) fn service(text: &str) -> Result<String, Hint> {
    if text.contains('/') && segment(text.trim_matches('/')) {
        return Err(Some("leave out the slash"));
    }
    if text.contains('/') {
        return Err(Some("for one method write path = \"/service/method\""));
    }
    segment(text).then(|| text.to_owned()).ok_or(None)
}

/// The beginning of a path.
pub(super) fn prefix(text: &str) -> Result<String, Hint> {
    if !text.starts_with('/') {
        return Err(Some("it begins with a slash"));
    }
    let valid = text.split('/').all(|part| part.is_empty() || segment(part));
    valid.then(|| text.to_owned()).ok_or(None)
}

/// The beginning of a path that ends where one of its segments does.
pub(super) fn whole_prefix(text: &str) -> Result<String, Hint> {
    match text.ends_with('/') {
        true => Err(Some("leave out the slash at its end: the next segment may follow, or nothing")),
        false => prefix(text),
    }
}

/// Any path, without a query.
pub(super) fn any_path(text: &str) -> Result<String, Hint> {
    prefix(text)
}

/// A path, perhaps with a query.
pub(super) fn path_and_query(text: &str) -> Result<String, Hint> {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    prefix(path)?;
    match query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        true => Ok(text.to_owned()),
        false => Err(None),
    }
}

/// The text that takes the place of a match in a path.
pub(super) fn substitution(text: &str) -> Result<String, Hint> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    match text.len() <= 1000 && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(None),
    }
}

/// A host, perhaps with a port.
pub(super) fn authority(text: &str) -> Result<String, Hint> {
    let is_port =
        |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
    let host = match text.rsplit_once(':') {
        Some((host, port)) if is_port(port) && (host.ends_with(']') || !host.contains(':')) => host,
        _ => text,
    };
    match match_host(host) {
        Ok(_) if host.contains('*') => Err(Some("one host, without a star")),
        Ok(_) => Ok(text.to_ascii_lowercase()),
        Err(hint) => Err(hint.filter(|hint| !hint.contains("port"))),
    }
}

/// The scheme of a page.
pub(super) fn http_scheme(text: &str) -> Result<String, Hint> {
    match text {
        "http" | "https" => Ok(text.to_owned()),
        _ => Err(None),
    }
}

/// The number of a code that is not OK.
pub(super) fn failing_code(text: &str) -> Result<u8, Hint> {
    match Codes::number(text) {
        Some(0) | None => Err(None),
        Some(number) => Ok(number),
    }
}

/// The body of a response.
pub(super) fn body(text: &str) -> Result<String, Hint> {
    match text.len() <= 65_536 {
        true => Ok(text.to_owned()),
        false => Err(None),
    }
}

/// The name of a parameter of a query.
pub(super) fn parameter(text: &str) -> Result<String, Hint> {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'&' | b'=' | b'#');
    match (1..=200).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(None),
    }
}

/// Two whole numbers, of which the second does not count any more.
pub(super) fn range(text: &str) -> Result<(i64, i64), Hint> {
    let ends = text.split_once("..").and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match ends {
        Some((from, to)) if from >= to => Err(Some("nothing is between them: the second is not among them")),
        Some(ends) => Ok(ends),
        None => Err(None),
    }
}

/// A part of the value of a header field or of a parameter.
pub(super) fn part_of_value(text: &str) -> Result<String, Hint> {
    let allowed = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    match !text.is_empty() && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(None),
    }
}

/// The path of one gRPC method.
pub(super) fn method_path(text: &str) -> Result<String, Hint> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err(Some("it begins with a slash"));
    };
    match rest.split_once('/') {
        Some((service, method)) if segment(service) && segment(method) => Ok(text.to_owned()),
        None if segment(rest) => {
            Err(Some("the method is missing; for all methods of a service write service = ..."))
        }
        _ => Err(None),
    }
}

/// A part of a path, as it can be on the wire between two slashes.
fn segment(text: &str) -> bool {
    (1..=1000).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#'))
}

/// An instance of a service: `ip:port`, `host:port` or `unix:///path`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, Hint> {
    match unix_socket(text) {
        Some(path) => path.map(Endpoint::Unix),
        None => host_and_port(text).map(|(host, port)| Endpoint::Tcp { host, port }),
    }
}

/// The path of a Unix socket, `unix:///path`. `None` if the text is meant to be something else.
pub(super) fn unix_socket(text: &str) -> Option<Result<UnixPath, Hint>> {
    let rest = text.strip_prefix("unix")?.strip_prefix([':', '-'])?;
    let path = rest.strip_prefix("//").filter(|path| path.starts_with('/'));
    Some(match path {
        _ if text.starts_with("unix-") => {
            Err(Some("sockets without a file are not supported: \"unix:///run/echo.sock\""))
        }
        None => Err(Some("the path is absolute, behind three slashes: \"unix:///run/echo.sock\"")),
        Some(path) if path.ends_with('/') => Err(Some("the path is a socket's, not a folder's")),
        Some(path) if path.len() > UnixPath::MAX => {
            Err(Some("the kernel takes paths of up to 107 bytes: let the socket be in a shorter folder"))
        }
        Some(path) if path.bytes().any(|byte| byte.is_ascii_control()) => Err(None),
        Some(path) => Ok(UnixPath::new(path)),
    })
}

/// The permissions of a file, in octal digits.
pub(super) fn mode(text: &str) -> Result<u32, Hint> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    match u32::from_str_radix(text, 8) {
        // The bits above these say nothing of a socket.
        Ok(mode) if is_octal && mode <= 0o777 => Ok(mode),
        _ => Err(None),
    }
}

/// An IP address or a host name, and a port.
fn host_and_port(text: &str) -> Result<(String, u16), Hint> {
    if text.contains("://") {
        return Err(Some("leave out the scheme"));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => Err(Some("addresses with a scope are not supported")),
            _ if address.port() == 0 => Err(Some("the port is 1 to 65535")),
            _ => Ok((address.ip().to_string(), address.port())),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(Some("an IPv6 address stands in brackets: \"[::1]:50051\""));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        let is_port = text.parse::<u16>().is_ok();
        return Err(Some(if is_port {
            "add the host: 127.0.0.1 is this one"
        } else {
            "add the port: \"host:50051\""
        }));
    };
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten();
    match port {
        None | Some(0) => Err(Some("the port is 1 to 65535")),
        Some(port) if dns_name(host) => Ok((host.to_ascii_lowercase(), port)),
        Some(_) if host.is_empty() => Err(Some("for this host write 127.0.0.1 before the colon")),
        Some(_) => Err(None),
    }
}

/// The authority that a route matches, without its port and in lower case. IPv6 addresses keep their brackets.
pub(super) fn match_host(text: &str) -> Result<String, Hint> {
    let lower = text.to_ascii_lowercase();
    if lower == "*" {
        return Err(Some("leave `host` out to match every one"));
    }
    if lower.parse::<Ipv6Addr>().is_ok() {
        return Err(Some("an IPv6 address stands in brackets: \"[::1]\""));
    }
    if let Some(inner) = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().map(|_| lower.clone()).map_err(|_| None);
    }
    if lower.contains("://") {
        return Err(Some("leave out the scheme"));
    }
    if lower.contains(':') {
        return Err(Some("leave out the port: a host matches on every port"));
    }
    let name = lower.strip_prefix("*.").unwrap_or(&lower);
    if dns_name(name) || lower.parse::<Ipv4Addr>().is_ok() {
        return Ok(lower);
    }
    match lower.contains('*') {
        true => Err(Some("`*.` stands at the beginning, once, before a whole name")),
        false => Err(None),
    }
}

/// A host that requests at the operators' address may name, as [`match_host`], or `*` for every one.
pub(super) fn allowed_host(text: &str) -> Result<String, Hint> {
    if text == "*" { Ok(text.to_owned()) } else { match_host(text) }
}

/// A host name: labels of letters, digits, `-` and `_`. Something like `10.0.0.999` is none: RFC 1123 section 2.1
/// asks for a last label that is not a number.
fn dns_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number =
        |text: &str| text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(label) && !last_is_number(text)
}

/// The name of a file, which need not exist.
pub(super) fn file(text: &str) -> Result<String, Hint> {
    match (1..=4000).contains(&text.len()) && !text.contains('\0') {
        true => Ok(text.to_owned()),
        false => Err(None),
    }
}

/// A web origin in lower case, without its scheme's own port; or `*`.
pub(super) fn origin(text: &str) -> Result<String, Hint> {
    let lower = text.to_ascii_lowercase();
    if lower == "*" {
        return Ok(lower);
    }
    let Some((scheme, rest)) = lower.split_once("://") else {
        return Err(Some("add the scheme: \"https://app.example.com\""));
    };
    let of_scheme = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !of_scheme(scheme) {
        return Err(None);
    }
    if rest.contains('/') {
        return Err(Some("an origin has no path, and no slash at its end"));
    }
    if rest.contains('*') {
        return Err(Some("list each origin, or write \"*\" alone for every one"));
    }
    let own = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port_is_good =
        port.is_none_or(|port| port.parse::<u16>().is_ok_and(|n| n > 0 && n.to_string() == port));
    match match_host(host) {
        Ok(_) if port_is_good => {
            let short = if own.is_empty() { rest } else { rest.strip_suffix(own).unwrap_or(rest) };
            Ok(format!("{scheme}://{short}"))
        }
        _ => Err(None),
    }
}

/// The name of a header field, in lower case.
pub(super) fn header_name(text: &str) -> Result<String, Hint> {
    // RFC 9110 section 5.6.2: tchar.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.starts_with(':') {
        return Err(Some(
            "match the path with `path`, `prefix` or `service`, the authority with `host`, others in `header_matchers`",
        ));
    }
    match !text.is_empty() && text.bytes().all(allowed) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(None),
    }
}

/// The name of what a condition of a route is about: a header field, or one of three pseudo-fields of a request.
pub(super) fn matched_name(text: &str) -> Result<String, Hint> {
    match text {
        ":method" | ":path" | ":authority" => Ok(text.to_owned()),
        _ if text.starts_with(':') => Err(None),
        _ => header_name(text),
    }
}

/// The value of a header field. Values with other bytes exist on the wire, but not in a text file.
pub(super) fn header_value(text: &str) -> Result<String, Hint> {
    // RFC 9110 section 5.5: a value does not begin or end with whitespace.
    if text.trim_matches([' ', '\t']) != text {
        return Err(Some("leave out the space around it: it is not part of a value"));
    }
    let allowed = |byte: u8| byte == b' ' || byte == b'\t' || byte.is_ascii_graphic();
    text.bytes().all(allowed).then(|| text.to_owned()).ok_or(None)
}
