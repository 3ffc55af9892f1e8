//! A route that changes the path of its calls, or answers them by itself.

use super::Call;
use crate::buffer::Slice;
use crate::config::{DirectResponse, LocalResponse, Redirect};
use crate::http2::Name;
use crate::policy::failure::Failure;
use crate::policy::status::Code;
use crate::transcode::status;
use crate::wire::{content, message};
use crate::worker::call::headers;
use crate::worker::call::known::Finding;
use crate::worker::config::WorkerConfig;

/// The message for callers whom a redirect means nothing.
const MOVED: &str = "moved: only callers of plain HTTP are sent there";

/// The message for callers who follow no redirect, where everybody is sent to `https`.
const HTTPS: &str = "this port sends callers of plain HTTP to https, and serves nobody";

/// HTTP statuses from here on say that something is wrong.
const BAD: u16 = 400;

impl Call {
    /// Gives the service the path and the authority that the route asks for.
    pub(in crate::worker::call) fn rewrite(
        &mut self,
        config: &WorkerConfig,
        finding: Finding,
    ) -> Result<(), Failure> {
        let actions = config.actions(finding.route);
        if actions.rewrite.is_some() && !finding.is_rewritten {
            self.rewrite_path(config, finding.route)?;
        }
        if let Some(host) = &actions.host_rewrite {
            self.head.set_authority(host.as_bytes());
        }
        Ok(())
    }

    /// Puts another path into the head, with the query of the one that was there.
    pub(in crate::worker::call) fn rewrite_path(
        &mut self,
        config: &WorkerConfig,
        route: usize,
    ) -> Result<(), Failure> {
        let path = headers::path(&self.head);
        let query = &self.head.path().unwrap_or_default()[path.len()..];
        let Some(mut made) = config.rewritten(route, path)? else { return Ok(()) };
        made.extend_from_slice(query);
        self.head.set_path(&made);
        Ok(())
    }

    /// Sends a caller of plain HTTP to `https`, if the listener is there for that. True if the call has been answered.
    pub(in crate::worker::call) fn redirect_to_https(&mut self) -> Result<bool, Failure> {
        let port = self.client.settings().https_redirect_port;
        if port == 0 {
            return Ok(false);
        }
        if !self.responder.speaks_http() {
            self.responder.explain(HTTPS.to_owned());
            return Err(Failure::NoRoute);
        }
        let mut location = [b"https://", well_formed(headers::host(&self.head))?].concat();
        if port != 443 {
            location.extend_from_slice(format!(":{port}").as_bytes());
        }
        location.extend_from_slice(self.head.path().unwrap_or(b"/"));
        let mut head = headers::response(self.responder.heads(), 308);
        head.push_named(b"location", &location);
        self.responder.send_plain(head, Slice::default()).map(|()| true)
    }

    /// Answers as the route says, in the caller's language.
    pub(in crate::worker::call) fn answer(
        &mut self,
        config: &WorkerConfig,
        route: usize,
        answer: &LocalResponse,
    ) -> Result<Code, Failure> {
        match answer {
            LocalResponse::Direct(direct) if self.responder.speaks_http() => self.answer_http(direct),
            LocalResponse::Direct(direct) => self.answer_grpc(code_of(direct), &direct.body),
            LocalResponse::Redirect(redirect) if self.responder.speaks_http() => {
                let location = self.location(config, route, redirect)?;
                let mut head = headers::response(self.responder.heads(), redirect.status);
                head.push_named(b"location", &location);
                self.change_response(&mut head);
                self.responder.send_plain(head, Slice::default()).map(|()| Code::Ok)
            }
            LocalResponse::Redirect(_) => self.answer_grpc(Code::Unimplemented, MOVED),
        }
    }

    fn answer_http(&mut self, direct: &DirectResponse) -> Result<Code, Failure> {
        let code = if direct.status < BAD { Code::Ok } else { code_of(direct) };
        let mut head = headers::response(self.responder.heads(), direct.status);
        let body: Slice = match &direct.content_type {
            Some(content_type) => {
                head.push(Name::CONTENT_TYPE, content_type.as_bytes());
                direct.body.clone().into_bytes().into()
            }
            None => {
                head.push(Name::CONTENT_TYPE, b"application/json");
                status::to_json(None, code.number(), &direct.body, None).into()
            }
        };
        self.change_response(&mut head);
        self.responder.send_plain(head, body).map(|()| code)
    }

    /// Answers with a status alone, as a service would.
    fn answer_grpc(&mut self, code: Code, text: &str) -> Result<Code, Failure> {
        let mut head = headers::response(self.responder.heads(), 200);
        head.push(Name::CONTENT_TYPE, &content::of_grpc(headers::format(&self.head)));
        head.push(Name::GRPC_STATUS, code.text().as_bytes());
        head.push(Name::GRPC_MESSAGE, message::encode(text).as_bytes());
        self.change_response(&mut head);
        let sent = self.responder.send_whole(head, &self.head);
        sent.map(|()| code).map_err(|error| error.failure)
    }

    /// Where a redirect leads.
    fn location(&self, config: &WorkerConfig, route: usize, redirect: &Redirect) -> Result<Vec<u8>, Failure> {
        let scheme = redirect.scheme.as_deref().unwrap_or(self.client.scheme());
        let authority = headers::authority(&self.head);
        let host = match &redirect.host {
            Some(host) => host.as_bytes(),
            // Another scheme has another port, unless it is written down.
            None if redirect.scheme.is_some() => headers::host(&self.head),
            None => authority,
        };
        let mut location = [scheme.as_bytes(), b"://", well_formed(host)?].concat();
        let path = headers::path(&self.head);
        let made = config.rewritten(route, path)?;
        let written = redirect.path.as_deref().map(str::as_bytes);
        location.extend_from_slice(written.or(made.as_deref().map(Vec::as_slice)).unwrap_or(path));
        let query = headers::query(&self.head).filter(|_| !redirect.strip_query);
        if let Some(query) = query.filter(|_| !location.contains(&b'?')) {
            location.push(b'?');
            location.extend_from_slice(query.as_bytes());
        }
        Ok(location)
    }
}

/// A host that may stand in a `location`.
fn well_formed(host: &[u8]) -> Result<&[u8], Failure> {
    if host.is_empty() || !headers::is_host(host) { Err(Failure::BadPath) } else { Ok(host) }
}

fn code_of(direct: &DirectResponse) -> Code {
    Code::from_number(u32::from(direct.code)).unwrap_or(Code::Unknown)
}
