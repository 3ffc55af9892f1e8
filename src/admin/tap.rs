//! `/tap`: the calls that pass, live, a line of JSON each; never what is in them.
//!
//! One watches at a time. The workers put records into rings of fixed size while somebody does, and no call waits for
//! whoever reads: what finds no room is counted. A tap ends by itself, so a forgotten one costs nothing for long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Response, StatusCode};
use hyper::body::Bytes;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::sleep;

use super::body::AdminBody;
use super::query::Query;
use super::request::{AdminError, AdminRequest};
use super::response::AdminResponse;
use super::view::Source;
use crate::metrics::line::{self, Fields};
use crate::metrics::record::Record;
use crate::metrics::tap::Tap;
use crate::metrics::{CallLabels, PROTOCOLS};
use crate::policy::status::Code;

/// The longest time of a tap: less than a connection lives.
const SECONDS_MAX: f64 = 50.0;

/// How often the rings are emptied.
const LOOK: Duration = Duration::from_millis(50);

/// Pieces of text that wait for the reader.
const PIECES: usize = 16;

/// Records that are taken from a ring at once.
const AT_ONCE: usize = 512;

/// The only right to watch. Dropping it closes all taps, also where watching has been forbidden meanwhile.
struct Watching {
    source: Arc<dyn Source>,
    taps: Vec<Arc<Tap>>,
}

impl Watching {
    fn begin(source: &Arc<dyn Source>, sample: f64) -> Option<Watching> {
        let taps = source.taps().to_vec();
        if !taps.first().is_some_and(|tap| tap.claim()) {
            return None;
        }
        taps.iter().for_each(|tap| tap.open(sample));
        Some(Watching { source: Arc::clone(source), taps })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.taps.iter().for_each(|tap| tap.close());
        self.taps.first().into_iter().for_each(|tap| tap.give_back());
    }
}

/// The calls that are wanted.
#[derive(Debug, Default, PartialEq)]
struct Filter {
    /// The beginning of the path, or of that of the gRPC method.
    path: Option<String>,
    status: Option<String>,
    /// Only calls that did not end with OK.
    errors: bool,
    route: Option<String>,
    cluster: Option<String>,
    protocol: Option<String>,
    /// The beginning of the client's address.
    client: Option<String>,
    /// The shortest duration.
    min_us: u64,
    /// The share of calls.
    sample: f64,
    seconds: f64,
}

impl Filter {
    fn parse(query: &Query) -> Result<Filter, AdminError> {
        let wrong = |message: String| AdminError(StatusCode::BAD_REQUEST, message);
        let mut filter = Filter { sample: 1.0, seconds: 30.0, ..Filter::default() };
        for (key, value) in query.pairs() {
            let number = |min: f64, max: f64| match value.parse::<f64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(number),
                _ => Err(wrong(format!("{key}={value}: must be {min} to {max}"))),
            };
            let text = || Some(value.to_owned());
            match key {
                "path" if value.starts_with('/') => filter.path = text(),
                "path" => return Err(wrong(format!("path={value}: must begin with /"))),
                "status" => match Code::named(value) {
                    Some(code) => filter.status = Some(code.name().to_owned()),
                    None => {
                        return Err(wrong(format!(
                            "status={value}: must be a gRPC status, such as NOT_FOUND, or its number"
                        )));
                    }
                },
                "errors" => filter.errors = !matches!(value, "0" | "false"),
                "route" => filter.route = text(),
                "cluster" => filter.cluster = text(),
                "protocol" if PROTOCOLS.contains(&value) => filter.protocol = text(),
                "protocol" => {
                    return Err(wrong(format!("protocol={value}: must be {}", PROTOCOLS.join(" or "))));
                }
                "client" => filter.client = text(),
                "min_ms" => filter.min_us = (number(0.0, 3.6e6)? * 1000.0) as u64,
                "sample" => filter.sample = number(0.0, 1.0)?,
                "seconds" => filter.seconds = number(0.1, SECONDS_MAX)?,
                _ => {
                    let keys =
                        "path, status, errors, route, cluster, protocol, client, min_ms, sample, seconds";
                    return Err(wrong(format!("{key}: there is no such filter; there are {keys}")));
                }
            }
        }
        Ok(filter)
    }

    fn wants(&self, record: &Record, labels: &CallLabels) -> bool {
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        let begins = |wanted: &Option<String>, value: &[u8]| {
            wanted.as_deref().is_none_or(|wanted| value.starts_with(wanted.as_bytes()))
        };
        let client = || record.client.map_or(String::new(), |client| client.to_string());
        (begins(&self.path, record.path()) || begins(&self.path, record.grpc_method()))
            && is(&self.status, line::status(record))
            && !(self.errors && record.code == 0)
            && is(&self.route, &labels.route)
            && is(&self.cluster, &labels.cluster)
            && is(&self.protocol, record.protocol_name())
            && (self.client.is_none() || begins(&self.client, client().as_bytes()))
            && record.took_us >= self.min_us
    }
}

/// Begins a tap, or says why there is none.
pub(super) fn open(asked: &AdminRequest) -> Response<AdminBody> {
    match begin(asked) {
        Ok(response) => response,
        Err(AdminError(status, message)) => AdminResponse::error(status, &message).into_response(),
    }
}

fn begin(asked: &AdminRequest) -> Result<Response<AdminBody>, AdminError> {
    let source = asked.shared_source();
    if source.taps().is_empty() {
        return Err(AdminError(
            StatusCode::FORBIDDEN,
            "admin.tap = false: calls are not shown here".to_owned(),
        ));
    }
    let filter = Filter::parse(asked.query())?;
    let Some(watching) = Watching::begin(source, filter.sample) else {
        let message = "somebody watches already: one at a time".to_owned();
        return Err(AdminError(StatusCode::CONFLICT, message));
    };
    let (send, receive) = channel(PIECES);
    tokio::spawn(watch(watching, filter, send));
    let response = AdminResponse::of("application/x-ndjson", Bytes::new());
    let mut response = response.into_response().map(|_| AdminBody::Live(receive));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// Passes on the records that are wanted, until the time is over or nobody reads.
async fn watch(watching: Watching, filter: Filter, send: Sender<Bytes>) {
    let Watching { source, taps } = &watching;
    // Records of the last one who watched are left there.
    taps.iter().filter_map(|tap| tap.ring()).for_each(|ring| while ring.take().is_some() {});
    let ends_at = Instant::now() + Duration::from_secs_f64(filter.seconds);
    let (mut seen, mut shown, mut unread) = (0_u64, 0_u64, 0_u64);
    let lost_before = lost(&**source);
    while Instant::now() < ends_at && !send.is_closed() && !source.taps().is_empty() {
        let (mut text, mut lines) = (String::new(), 0);
        for (worker, tap) in taps.iter().enumerate() {
            seen += take(tap, |record| {
                let headers = source.log_headers(record.headers);
                source.labels(record.series, &mut |labels| {
                    if filter.wants(record, labels) {
                        line::write(&mut text, (worker, record), labels, &headers, Fields::ALL);
                        lines += 1;
                    }
                });
            });
        }
        if lines > 0 {
            match send.try_send(text.into()) {
                Ok(()) => shown += lines,
                Err(_) => unread += lines,
            }
        }
        sleep(LOOK).await;
    }
    let lost = lost(&**source) - lost_before;
    let last = format!("{{\"seen\":{seen},\"shown\":{shown},\"dropped\":{}}}\n", lost + unread);
    let _ = send.send(last.into()).await;
}

/// Takes the records that wait; gives their number.
fn take(tap: &Tap, mut look: impl FnMut(&Record)) -> u64 {
    let Some(ring) = tap.ring() else { return 0 };
    let records = std::iter::from_fn(|| ring.take()).take(AT_ONCE);
    records.inspect(|record| look(record)).count() as u64
}

/// Records that found no room in the rings so far.
fn lost(source: &dyn Source) -> u64 {
    source.view().shards.iter().map(|shard| shard.worker.tap_dropped.get()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(query: &str) -> Filter {
        Filter::parse(&Query::parse(query)).unwrap_or_else(|AdminError(_, message)| panic!("{message}"))
    }

    fn record() -> Record {
        let mut record = Record { code: 14, took_us: 5000, protocol: 0, ..Record::default() };
        record.client = Some("10.0.0.7:5".parse().unwrap());
        record.set_path(b"/a.B/C");
        record
    }

    #[test]
    fn filters_hold_together() {
        let labels = CallLabels { route: "r".into(), cluster: "c".into(), method: String::new() };
        for (query, wanted) in [
            ("", true),
            ("path=/a.B/", true),
            ("path=/b", false),
            ("status=unavailable", true),
            ("status=14", true),
            ("status=OK", false),
            ("errors=1&route=r&cluster=c&protocol=grpc&client=10.0.0.7", true),
            ("errors=1&route=r&cluster=d", false),
            ("protocol=json", false),
            ("client=10.0.1.", false),
            ("min_ms=5", true),
            ("min_ms=5.1", false),
        ] {
            assert_eq!(filter(query).wants(&record(), &labels), wanted, "{query}");
        }
        assert!(!filter("errors=1").wants(&Record { code: 0, ..record() }, &labels));
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        for query in [
            "paths=/a",
            "sample=2",
            "seconds=0",
            "seconds=3600",
            "protocol=soap",
            "min_ms=x",
            "status=notfound",
            "status=17",
            "path=a.B",
        ] {
            assert!(Filter::parse(&Query::parse(query)).is_err(), "{query}");
        }
    }
}
