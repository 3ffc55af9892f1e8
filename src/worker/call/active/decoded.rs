//! The first steps of a call: its head is read, and becomes that of a gRPC call.

use super::{Call, UnreadRequest};
use crate::buffer::Slice;
use crate::metrics::record::Stage;
use crate::policy::failure::Failure;
use crate::wire::web::{FromText, WebEncoding};
use crate::worker::call::body_decoder::BodyDecoder;
use crate::worker::call::headers::{self, GatewayHeaders};
use crate::worker::call::protocol::DownstreamProtocol;
use crate::worker::call::{connect, cors, forwarding, json};
use crate::worker::config::WorkerConfig;
use crate::worker::core::Worker;

impl Call {
    /// Notes the CORS grant of the page that calls. True if the request is a preflight, which has been answered.
    pub(in crate::worker::call) fn answer_options(&mut self, worker: &Worker) -> Result<bool, Failure> {
        let policy = self.client.cors();
        self.responder.grant(policy.and_then(|policy| policy.grant(&self.head)));
        if self.head.method() != Some(b"OPTIONS") {
            return Ok(false);
        }
        let transcoder = worker.transcoder();
        let allow = transcoder.as_ref().and_then(|transcoder| transcoder.allowed(self.path()));
        let response = cors::answer_options(policy, &self.head, allow.as_deref(), &worker.heads);
        let Some(response) = response else { return Ok(false) };
        self.shape.responded_here();
        self.responder.send_plain(response, Slice::default()).map(|()| true)
    }

    /// Reads the caller's requests to the gateway, and refuses a head that no upstream should see.
    pub(in crate::worker::call) fn read_headers(
        &mut self,
        worker: &Worker,
        protocol: DownstreamProtocol,
    ) -> Result<GatewayHeaders, Failure> {
        let settings = self.client.settings();
        let headers = headers::read(&self.head, settings.http2.max_headers_count as usize, protocol)?;
        if headers.is_of_proxy || settings.forwarding.is_on() {
            self.caller = forwarding::settle(&mut self.head, &self.client, &mut worker.random.borrow_mut());
            self.telemetry.called_by(self.caller);
        }
        Ok(headers)
    }

    /// Tells the times of the call's stages, if the caller asks for them and may.
    pub(in crate::worker::call) fn tell_time(&mut self, worker: &Worker, headers: GatewayHeaders) {
        if self.client.settings().tells_time(headers.timing) {
            self.responder.timer_mut().tell(&worker.clock);
        }
    }

    /// Turns the head into that of a gRPC call, from any protocol. Gives the request if its body has to be read before it
    /// is sent.
    pub(in crate::worker::call) fn decode(
        &mut self,
        worker: &Worker,
        config: &WorkerConfig,
        protocol: DownstreamProtocol,
    ) -> Result<Option<UnreadRequest>, Failure> {
        let head = &mut self.head;
        match protocol {
            DownstreamProtocol::Grpc => headers::check_grpc(head, protocol).map(|()| None),
            DownstreamProtocol::GrpcWeb(form, _) => {
                headers::check_grpc(head, protocol)?;
                if form == WebEncoding::Text {
                    self.request.read_as(BodyDecoder::Text(FromText::default()));
                }
                headers::web_to_grpc(head);
                Ok(None)
            }
            DownstreamProtocol::Connect(kind) => {
                let body_max = config.config.transcoding.max_request_body_size as usize;
                let transcoder = worker.transcoder();
                let responder = &mut self.responder;
                match connect::open(transcoder.as_ref(), responder, head, kind, body_max)? {
                    connect::OpenedRequest::AsItIs(request) => Ok(request.map(UnreadRequest::Connect)),
                    connect::OpenedRequest::Json(opened) => Ok(Some(UnreadRequest::Json(opened))),
                }
            }
            DownstreamProtocol::Json => {
                self.responder.timer().enter(Stage::Transcode);
                let Some(transcoder) = worker.transcoder() else {
                    return Err(json::off(&mut self.responder, head));
                };
                let opened = json::open(&transcoder, &mut self.responder, head, None)?;
                self.telemetry.mapped(opened.template());
                Ok(Some(UnreadRequest::Json(opened)))
            }
        }
    }
}
