//! Spans on their way to a collector, encoded as they come: as messages a batch of them would be a megabyte in tens of
//! thousands of pieces, which pushes what calls need out of the caches.

use std::process;

use bytes::{BufMut, Bytes};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::{Message, encode_length_delimiter, length_delimiter_len};

use super::spans;

/// Protobuf's keys of the fields that hold what is encoded here: number and wire type (length-delimited).
const RESOURCE_SPANS: u8 = 1 << 3 | 2;
const SCOPE_SPANS: u8 = 2 << 3 | 2;
const SPANS: u8 = 2 << 3 | 2;

/// The next `ExportTraceServiceRequest`.
pub(super) struct Batch {
    /// A `ResourceSpans` that has only its resource, and a `ScopeSpans` that has only its scope: the same each time.
    resource: Vec<u8>,
    scope: Vec<u8>,
    /// The field `spans` of the `ScopeSpans`.
    spans: Vec<u8>,
    len: usize,
}

impl Batch {
    /// None so far, of the service that is called so.
    pub(super) fn new(service_name: &str) -> Batch {
        let version = env!("CARGO_PKG_VERSION");
        let attributes = vec![
            spans::text("service.name", service_name),
            spans::text("service.version", version),
            spans::text("service.instance.id", &process::id().to_string()),
        ];
        let scope = InstrumentationScope {
            name: "ringway".to_owned(),
            version: version.to_owned(),
            ..InstrumentationScope::default()
        };
        let resource = Resource { attributes, ..Resource::default() };
        Batch {
            resource: ResourceSpans { resource: Some(resource), ..ResourceSpans::default() }.encode_to_vec(),
            scope: ScopeSpans { scope: Some(scope), ..ScopeSpans::default() }.encode_to_vec(),
            spans: Vec::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, span: &Span) {
        field(SPANS, span.encoded_len(), &mut self.spans);
        // A Vec takes all there is.
        let _ = span.encode(&mut self.spans);
        self.len += 1;
    }

    /// The request with all of them; none are left.
    pub(super) fn take(&mut self) -> Bytes {
        let of_scope = self.scope.len() + self.spans.len();
        let of_resource = self.resource.len() + 1 + length_delimiter_len(of_scope) + of_scope;
        let mut request = Vec::with_capacity(1 + length_delimiter_len(of_resource) + of_resource);
        field(RESOURCE_SPANS, of_resource, &mut request);
        request.extend_from_slice(&self.resource);
        field(SCOPE_SPANS, of_scope, &mut request);
        request.extend_from_slice(&self.scope);
        request.extend_from_slice(&self.spans);
        self.spans.clear();
        self.len = 0;
        request.into()
    }
}

/// The beginning of a field with so many bytes in it.
fn field(key: u8, len: usize, out: &mut Vec<u8>) {
    out.put_u8(key);
    // A Vec takes all there is.
    let _ = encode_length_delimiter(len, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

    #[test]
    fn a_batch_is_the_message_that_collectors_take() {
        let mut batch = Batch::new("edge");
        for numbers in [0..3, 3..1000, 0..0] {
            let spans: Vec<_> = numbers
                .map(|number| Span { name: format!("call {number}"), flags: number, ..Span::default() })
                .collect();
            spans.iter().for_each(|span| batch.push(span));
            assert_eq!(batch.len(), spans.len());
            let mut request = ExportTraceServiceRequest::decode(batch.take()).unwrap();
            assert_eq!(batch.len(), 0);

            let mut of_resource = request.resource_spans.remove(0);
            assert!(request.resource_spans.is_empty());
            let mut of_scope = of_resource.scope_spans.remove(0);
            assert!(of_resource.scope_spans.is_empty());
            assert_eq!(of_resource.resource.unwrap().attributes[0], spans::text("service.name", "edge"));
            assert_eq!(of_scope.scope.take().unwrap().name, "ringway");
            assert_eq!(of_scope.spans, spans);
        }
    }
}
