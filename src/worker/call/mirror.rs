//! Copies of unary calls for other clusters. Nobody waits for them, and what they end with changes nothing.

use std::rc::Rc;

use super::mirror_target::MirrorTarget;
use super::side_call::SideCall;
use crate::buffer::Slice;
use crate::http2::Head;
use crate::upstream::Cluster;
use crate::worker::core::Worker;

/// The suffix of the host of a copy, as from Envoy.
const SUFFIX: &[u8] = b"-shadow";

/// Sends a copy of a call on its way. The body is copied, too: the worker's receive buffers are needed by others.
pub(super) fn send(
    target: &MirrorTarget,
    worker: &Worker,
    cluster: &Rc<Cluster>,
    head: &Head,
    body: &[Slice],
) {
    let mut copy = worker.heads.head();
    copy.copy_from(head);
    let authority = [head.authority().unwrap_or_default(), SUFFIX].concat();
    copy.set_authority(&authority);
    let body: Vec<Slice> =
        body.iter().filter(|piece| !piece.is_empty()).map(|it| Slice::copy_of(it)).collect();
    let (clock, local) = (Rc::clone(&worker.clock), Rc::clone(&worker.local));
    let (cluster, active) = (Rc::clone(cluster), target.begin());
    let until = worker.clock.now().plus(target.settings.timeout);
    local.counts().mirrored.add(1);
    worker.spawn(async move {
        let _active = active;
        let call = SideCall {
            clock: &clock,
            cluster: &cluster,
            head: &copy,
            body: &body,
            answer_max: 0,
            is_told: false,
        };
        let timer = local.timers.timer();
        let ended = timer.within(until, call.make()).await;
        if !matches!(ended, Some(Ok(_))) {
            local.counts().mirrors_failed.add(1);
        }
    });
}
