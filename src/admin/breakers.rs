//! `/breakers`: each breaker, and how often it has changed.

use super::request::AdminRequest;
use super::value::Value;

/// All breakers: for each cluster its own, then those of its methods and of routes to it.
pub(super) fn page(asked: &AdminRequest) -> Value {
    let view = asked.source().view();
    let rows = view.shares.iter().flat_map(|shares| {
        shares.breakers().map(|(of, breaker)| {
            Value::Record(vec![
                ("cluster", shares.cluster.as_str().into()),
                ("method", of.method().into()),
                ("route", of.route().into()),
                ("state", breaker.state().word().into()),
                ("opens", breaker.opens().into()),
                ("reopens", breaker.reopens().into()),
                ("closes", breaker.closes().into()),
            ])
        })
    });
    Value::Record(vec![("breakers", rows.collect())])
}
