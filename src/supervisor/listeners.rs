//! The addresses that clients connect to: which there are, and the sockets of those that a configuration adds.
//!
//! A listener is known by its address. All sockets of new listeners, for every worker, are bound before anything changes,
//! so that an address that cannot be had refuses the whole configuration.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::StartError;
use crate::config::{self, Config, EndpointAddress};
use crate::net::listener;
use crate::net::unix_socket::{self, SocketFile};
use crate::worker::{ListenerIdentity, NewSocket};

/// The time that workers have to close a listener; one that takes longer closes it later. Until then nobody else can have
/// the address.
const CLOSING: Duration = Duration::from_secs(5);

/// A listener in use.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// The address as the file has it; its port may be 0.
    asked: EndpointAddress,
    /// The address that clients connect to.
    pub(super) address: EndpointAddress,
    identity: Arc<ListenerIdentity>,
    /// The file of a Unix socket.
    file: Option<Arc<SocketFile>>,
}

/// The listeners of a configuration, with the sockets of those that are new.
pub(super) struct Opened {
    /// In the order of the configuration.
    pub(super) running: Vec<Running>,
    /// For each worker.
    pub(super) sockets: Vec<Vec<NewSocket>>,
}

impl Opened {
    /// The identity of each listener, in the order of the configuration.
    pub(super) fn identities(&self) -> Vec<Arc<ListenerIdentity>> {
        self.running.iter().map(|listener| Arc::clone(&listener.identity)).collect()
    }
}

/// Opens the listeners of a configuration that are not among those in use, for so many workers, and puts the address of
/// each in place of a port of 0.
///
/// # Errors
/// The position of a listener whose address cannot be had, and the reason. Nothing stays open then.
pub(super) fn open(
    config: &mut Config,
    known: &[Running],
    workers: usize,
) -> Result<Opened, (usize, StartError)> {
    let found = assigned(config, known);
    // Workers share an address, and so would another gateway, each with a part of the clients.
    for (number, listener) in config.listeners.iter().enumerate() {
        // Binding a Unix socket tells whether it is free.
        let EndpointAddress::Ip(address) = listener.address else { continue };
        let is_ours = known.iter().any(|known| overlap(known.address, listener.address));
        if found[number].is_none() && !listener.reuse_port && !is_ours {
            listener::is_free(address).map_err(|error| (number, StartError::Bind(address.into(), error)))?;
        }
    }
    let mut opened = Opened { running: Vec::new(), sockets: (0..workers).map(|_| Vec::new()).collect() };
    for ((number, listener), found) in config.listeners.iter_mut().enumerate().zip(found) {
        let running = match found {
            Some(at) => Running { asked: listener.address, ..known[at].clone() },
            None => {
                let bound = bind(listener, workers, &mut opened.sockets);
                bound.map_err(|error| (number, StartError::Bind(listener.address, error)))?
            }
        };
        listener.address = running.address;
        opened.running.push(running);
    }
    // Nothing is refused any more.
    config.listeners.iter().zip(&opened.running).for_each(|(listener, running)| set_mode(listener, running));
    Ok(opened)
}

/// Binds the sockets of a new listener, for each worker.
fn bind(listener: &config::Listener, workers: usize, sockets: &mut [Vec<NewSocket>]) -> io::Result<Running> {
    let (asked, identity) = (listener.address, ListenerIdentity::new(workers));
    let (mut address, mut file) = (asked, None);
    match asked {
        EndpointAddress::Ip(mut free) => {
            for sockets in sockets {
                let socket = listener::bind(free, listener.backlog)?;
                // The first socket settles a port of 0.
                free = socket.local_addr()?;
                sockets.push(NewSocket::new(socket, &identity));
            }
            address = free.into();
        }
        EndpointAddress::Unix(path) => {
            let (socket, its_file) = unix_socket::bind(path, listener.mode, listener.backlog)?;
            sockets.iter_mut().for_each(|sockets| sockets.push(NewSocket::new(&socket, &identity)));
            file = Some(Arc::new(its_file));
        }
    }
    Ok(Running { asked, address, identity, file })
}

/// Gives the file of a Unix socket the permissions of this configuration.
fn set_mode(listener: &config::Listener, running: &Running) {
    let Some((file, mode)) = running.file.as_ref().zip(listener.mode) else { return };
    if let Err(error) = file.set_mode(mode) {
        tracing::warn!(address = %running.address, %error, "cannot set the permissions of the socket's file");
    }
}

/// For each listener of a configuration the position of the one in use that it is: by the address as it was asked for, or
/// as it is.
fn assigned(config: &Config, known: &[Running]) -> Vec<Option<usize>> {
    let mut is_taken = vec![false; known.len()];
    let mut found = vec![None; config.listeners.len()];
    let ways: [fn(&Running) -> EndpointAddress; 2] = [|known| known.asked, |known| known.address];
    for way in ways {
        for (listener, found) in config.listeners.iter().zip(&mut found).filter(|(_, found)| found.is_none())
        {
            let is_it = |(at, known): &(usize, &Running)| !is_taken[*at] && way(known) == listener.address;
            *found = known.iter().enumerate().find(is_it).map(|(at, _)| at);
            if let Some(at) = *found {
                is_taken[at] = true;
            }
        }
    }
    found
}

/// Whether the sockets of two listeners would be in each other's way.
fn overlap(one: EndpointAddress, other: EndpointAddress) -> bool {
    let Some((one, other)) = one.tcp().zip(other.tcp()) else { return one == other };
    let is_wide = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (is_wide || one.ip() == other.ip())
}

/// Removes the files of these listeners: nobody shall find them any more.
pub(super) fn remove_files<'a>(listeners: impl IntoIterator<Item = &'a Running>) {
    listeners.into_iter().filter_map(|listener| listener.file.as_ref()).for_each(|file| file.remove());
}

/// Waits until the workers have closed the listeners that are not in use any more.
pub(super) fn wait_until_closed(before: &[Running]) {
    remove_files(before.iter().filter(|known| known.identity.is_removed()));
    let given_up_at = Instant::now() + CLOSING;
    let is_open = |known: &Running| known.identity.is_removed() && known.identity.sockets() > 0;
    while before.iter().any(is_open) && Instant::now() < given_up_at {
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;

    fn config(addresses: &[EndpointAddress]) -> Config {
        let listeners: Vec<String> =
            addresses.iter().map(|address| format!("[[listeners]]\naddress = \"{address}\"\n")).collect();
        let rest = "[[routes]]\ncluster = \"c\"\n[[clusters]]\nname = \"c\"\nendpoints = [\"127.0.0.1:2\"]\n";
        config::parse(&format!("{}{rest}", listeners.concat()), Path::new("c.toml")).unwrap()
    }

    fn loopback(last: u8, port: u16) -> EndpointAddress {
        SocketAddr::from(([127, 0, 0, last], port)).into()
    }

    #[test]
    fn a_listener_is_known_by_its_address() {
        let mut first = config(&[loopback(1, 0), loopback(1, 0), loopback(2, 0)]);
        let start = open(&mut first, &[], 2).unwrap();
        assert!(start.sockets.iter().all(|sockets| sockets.len() == 3));
        let at: Vec<_> = start.running.iter().map(|listener| listener.address).collect();
        assert!(at.iter().all(|address| address.port() > 0) && at[0] != at[1]);
        assert_eq!(at, first.listeners.iter().map(|listener| listener.address).collect::<Vec<_>>());

        // In another order, the second by the port that it has got, and one more.
        let mut next = config(&[loopback(2, 0), at[1], loopback(1, 0), loopback(3, 0)]);
        let opened = open(&mut next, &start.running, 2).unwrap();
        let is_same = |new: usize, old: usize| {
            Arc::ptr_eq(&opened.running[new].identity, &start.running[old].identity)
                && next.listeners[new].address == at[old]
        };
        assert!(is_same(0, 2) && is_same(1, 1) && is_same(2, 0));
        assert!(opened.sockets.iter().all(|sockets| sockets.len() == 1));
        assert_eq!(opened.running[3].identity.sockets(), 2);
        let identity = Arc::clone(&opened.running[3].identity);
        drop(opened);
        assert_eq!(identity.sockets(), 0);
    }

    #[test]
    fn an_address_that_is_taken_is_named_and_nothing_stays_open() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = EndpointAddress::from(taken.local_addr().unwrap());
        let (number, error) = open(&mut config(&[loopback(1, 0), address]), &[], 2).err().unwrap();
        assert!(matches!(error, StartError::Bind(at, _) if at == address), "{error}");
        assert_eq!(number, 1);
        // One that we have ourselves is in nobody's way: it may be about to go.
        assert!(overlap(loopback(1, 80), SocketAddr::from(([0, 0, 0, 0], 80)).into()));
        assert!(!overlap(loopback(1, 80), loopback(2, 80)) && !overlap(loopback(1, 80), loopback(1, 81)));
    }
}
