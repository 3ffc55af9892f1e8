//! Families of calls: how they ended and how long they took, under the labels of a layout.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::super::page::{Escaped, Page, Seconds, bound};
use super::super::{
    CallBlock, CallLabels, CallTotals, Exemplar, GRPC_STATUS_NAMES, Layout, PROTOCOLS, Shard, Snapshot,
    call_totals,
};

/// A series of the page: its labels and its figures.
struct Series {
    labels: String,
    totals: CallTotals,
    /// For each bucket the newest of all cores; empty where none are kept.
    exemplars: Vec<Option<Exemplar>>,
}

pub(super) fn write(page: &mut Page, layout: &Layout, shards: &[Arc<Shard>]) {
    // Codes and durations are read together, so that under load they disagree by as little as can be.
    let groups = grouped(layout.calls.iter().map(labels)).into_iter();
    let series = groups.map(|Group { labels, members }| Series {
        totals: call_totals(shards, &members),
        exemplars: exemplars(shards, &members),
        labels,
    });
    let series: Vec<Series> = series.collect();
    ended(page, &series);
    durations(page, layout, &series);
}

fn labels(call: &CallLabels) -> String {
    let mut text = format!("route=\"{}\",cluster=\"{}\"", Escaped(&call.route), Escaped(&call.cluster));
    if !call.method.is_empty() {
        let _ = write!(text, ",method=\"{}\"", Escaped(&call.method));
    }
    text
}

fn ended(page: &mut Page, series: &[Series]) {
    let name = "ringway_calls_total";
    let help = "Calls that are over, by the caller's protocol and the gRPC status that the caller got.";
    page.family(name, "counter", help);
    for Series { labels, totals, .. } in series {
        for (number, (protocol, by_code)) in PROTOCOLS.iter().zip(&totals.by_code).enumerate() {
            let is_used = number == 0 || by_code.iter().any(|&count| count > 0);
            for (code, (status, &count)) in GRPC_STATUS_NAMES.iter().zip(by_code).enumerate() {
                // OK is always there, so that a ratio has its denominator; others from their first call.
                if count > 0 || (code == 0 && is_used) {
                    let labels = format_args!("{labels},protocol=\"{protocol}\",grpc_status=\"{status}\"");
                    page.sample(name, &labels, count);
                }
            }
        }
    }
}

fn durations(page: &mut Page, layout: &Layout, series: &[Series]) {
    let help = "How long calls took, from their head's arrival to their end; those with one message each way apart \
                from streams.";
    page.family("ringway_call_duration_seconds", "histogram", help);
    let bounds: Vec<String> = layout.bounds.micros().iter().map(|&micros| bound(micros)).collect();
    for Series { labels, totals, exemplars } in series {
        let mut histogram = |kind: &str, durations: &Snapshot, exemplars: &[Option<Exemplar>]| {
            let labels = format!("{labels},grpc_type=\"{kind}\"");
            let at_most = durations.at_most(&layout.bounds);
            let ends = bounds.iter().map(String::as_str).chain(["+Inf"]);
            for (at, (le, &count)) in ends.zip(&at_most).enumerate() {
                let exemplar = exemplars.get(at).copied().flatten();
                let labels = format_args!("{labels},le=\"{le}\"");
                page.sample_with("ringway_call_duration_seconds_bucket", &labels, count, exemplar);
            }
            page.sample("ringway_call_duration_seconds_sum", &labels, Seconds(durations.sum_micros()));
            let count = at_most.last().copied().unwrap_or(0);
            page.sample("ringway_call_duration_seconds_count", &labels, count);
        };
        histogram("unary", &totals.unary, exemplars);
        // From the first stream on.
        if totals.streams.count() > 0 {
            histogram("stream", &totals.streams, &[]);
        }
    }
}

/// For each bucket the newest exemplar of these entries.
fn exemplars(shards: &[Arc<Shard>], members: &[usize]) -> Vec<Option<Exemplar>> {
    let mut newest: Vec<Option<Exemplar>> = Vec::new();
    let blocks = members.iter().flat_map(|&at| shards.iter().filter_map(move |shard| shard.calls.get(at)));
    let kept = blocks.flat_map(|block: &Arc<CallBlock>| block.exemplars().iter().enumerate());
    for (bucket, exemplar) in kept.filter_map(|(bucket, slot)| Some((bucket, slot.get()?))) {
        newest.resize(newest.len().max(bucket + 1), None);
        if newest[bucket].is_none_or(|known| known.unix_us < exemplar.unix_us) {
            newest[bucket] = Some(exemplar);
        }
    }
    newest
}

/// Places of a layout that are shown as one series.
pub(super) struct Group {
    pub(super) labels: String,
    pub(super) members: Vec<usize>,
}

/// Puts places with equal labels together, in the order of their first appearance.
pub(super) fn grouped(labels: impl Iterator<Item = String>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, labels) in labels.enumerate() {
        match places.get(&labels) {
            Some(&place) => groups[place].members.push(at),
            None => {
                places.insert(labels.clone(), groups.len());
                groups.push(Group { labels, members: vec![at] });
            }
        }
    }
    groups
}
