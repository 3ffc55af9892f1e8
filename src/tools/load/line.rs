//! A connection of a load, opened again when it is lost.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;

use super::plan::{Request, Target};
use super::tally::Ending;
use super::traffic::Traffic;
use super::{grpc, json};

/// The wait after a connect that failed, so that a target that is gone is not asked without pause.
const PAUSE: Duration = Duration::from_millis(5);

/// A connection and the call that is made on it.
pub(super) struct LoadConnection {
    address: SocketAddr,
    patience: Duration,
    traffic: Rc<Traffic>,
    protocol: Protocol,
    /// Whether a call got its response on it.
    answered: Cell<bool>,
}

enum Protocol {
    /// Calls share the connection.
    Grpc(grpc::Call, RefCell<Option<SendRequest<Bytes>>>),
    /// A call takes the connection out while it lasts.
    Json(json::Call, RefCell<Option<json::Client>>),
}

impl LoadConnection {
    /// A line that is not connected.
    ///
    /// # Errors
    /// When the target's path or header fields are none.
    pub(super) fn new(
        target: &Target,
        traffic: &Rc<Traffic>,
        patience: Duration,
    ) -> io::Result<Rc<LoadConnection>> {
        let address = target.address;
        let protocol = match &target.request {
            Request::Grpc { path, message, headers } => Protocol::Grpc(
                grpc::Call::new(address, path, message, headers).map_err(io::Error::other)?,
                RefCell::default(),
            ),
            Request::Json { method, path, body } => Protocol::Json(
                json::Call::new(address, method, path, body).map_err(io::Error::other)?,
                RefCell::default(),
            ),
        };
        let traffic = Rc::clone(traffic);
        Ok(Rc::new(LoadConnection { address, patience, traffic, protocol, answered: Cell::new(false) }))
    }

    /// Whether any call got a response, good or bad.
    pub(super) fn answered(&self) -> bool {
        self.answered.get()
    }

    /// Makes one call.
    pub(super) async fn call(&self) -> Ending {
        let Ok(ending) = tokio::time::timeout(self.patience, self.attempt()).await else {
            return Ending::TimedOut;
        };
        if ending != Ending::Lost {
            self.answered.set(true);
        }
        ending
    }

    async fn attempt(&self) -> Ending {
        match &self.protocol {
            Protocol::Grpc(call, client) => {
                let open = client.borrow().clone();
                let open = match open {
                    Some(open) => open,
                    None => match grpc::connect(self.address, &self.traffic).await {
                        Ok(opened) => client.borrow_mut().insert(opened).clone(),
                        Err(_) => return lost().await,
                    },
                };
                call.make(open).await.unwrap_or_else(|_| {
                    *client.borrow_mut() = None;
                    Ending::Lost
                })
            }
            Protocol::Json(call, client) => {
                let open = client.borrow_mut().take();
                let mut open = match open {
                    Some(open) if !open.is_closed() => open,
                    _ => match json::connect(self.address, &self.traffic).await {
                        Ok(opened) => opened,
                        Err(_) => return lost().await,
                    },
                };
                let Ok(ending) = call.make(&mut open).await else { return Ending::Lost };
                *client.borrow_mut() = Some(open);
                ending
            }
        }
    }
}

async fn lost() -> Ending {
    tokio::time::sleep(PAUSE).await;
    Ending::Lost
}
