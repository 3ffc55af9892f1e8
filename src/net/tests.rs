//! Connections of an echoing protocol, on every backend that this host has: all bytes come back, in order.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::listener::{self, Listener};
use super::ring::tests::IO;
use super::ring::{self, IoBackend};
use super::runtime::Loop;
use super::{BufferedConn, IoContext, Socket, buffers, required, runtime, stream, unix_socket};
use crate::config::{EndpointAddress, Io, UnixPath};
use crate::metrics::WorkerBlock;
use crate::time::Moment;

/// The ways that bytes go on this host, each with what a loop on it is made by.
fn backends() -> Vec<(IoBackend, Io)> {
    let idle = Some(Duration::from_millis(10));
    let has_ring = ring::probe(&IO).is_ok();
    let backend = |io: Io| match ring::probe(&io) {
        Ok(backend) => Some((backend, io)),
        Err(refusal) => {
            required::skip_option(has_ring, refusal);
            None
        }
    };
    let rings = [IO, Io { sqpoll_idle: idle, ..IO }].into_iter().filter_map(backend);
    rings.chain([(IoBackend::Epoll, IO)]).collect()
}

/// Serves connections by `protocol` until `peers` is done with its ends of them. Returns what was counted.
fn serve<P: Future<Output = ()> + 'static>(
    (backend, io): (IoBackend, Io),
    connections: usize,
    protocol: impl Fn(Rc<BufferedConn>) -> P,
    peers: impl FnOnce(Vec<TcpStream>) + Send + 'static,
) -> Arc<WorkerBlock> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it listens");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..connections {
        let peer = TcpStream::connect(address).expect("it listens");
        peer.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        peer.set_write_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        theirs.push(peer);
        ours.push(listener.accept().expect("a connection").0);
    }
    let counts = Arc::<WorkerBlock>::default();
    let local = IoContext::new(Arc::clone(&counts), Moment::ZERO);
    let mut event_loop = Loop::new(backend, &io, &local).expect("the backend is there");
    let peers = thread::spawn(move || peers(theirs));
    event_loop.run(&Rc::clone(&local), async {
        let (done, mut all) = tokio::sync::mpsc::unbounded_channel::<()>();
        for socket in ours {
            let socket = Socket::adopt(socket.into()).expect("the loop takes it");
            let conn = BufferedConn::new(Rc::clone(&local.buffers), local.timers.now());
            let protocol = Box::pin(protocol(Rc::clone(&conn)));
            let drive = stream::drive(Rc::clone(&local), conn, socket, protocol, ());
            let done = done.clone();
            let whole = async move {
                drive.await;
                drop(done);
            };
            runtime::spawn(|| panic!("a connection panicked"), whole);
        }
        drop(done);
        assert!(all.recv().await.is_none(), "nobody says anything there");
    });
    peers.join().expect("the peers heard what they should");
    counts
}

/// Says back what it hears.
async fn echo(conn: Rc<BufferedConn>) {
    let (mut io, mut bytes) = (conn.io(), vec![0; 10_000]);
    while let Ok(n @ 1..) = io.read(&mut bytes).await {
        if io.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}

/// Says back what it hears, by reference. Reads on only while there is room.
async fn pass_back(conn: Rc<BufferedConn>) {
    poll_fn(|_| {
        while conn.room() > 0 {
            let Some(slice) = conn.next_slice() else { break };
            conn.write_buf().push(slice);
        }
        let is_over = conn.read_end().is_some() && conn.room() > 0;
        if is_over || conn.write_end().is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn pattern(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ seed) as u8).collect()
}

#[test]
fn more_connections_speak_at_once_than_there_are_buffers() {
    let many = usize::from(buffers::POOL_BUFFERS) + 100;
    for backend in backends() {
        serve(backend, many, echo, move |mut peers| {
            for round in 0..3 {
                for (number, peer) in peers.iter_mut().enumerate() {
                    peer.write_all(&pattern(100, number + round)).expect("it is taken");
                }
                for (number, peer) in peers.iter_mut().enumerate() {
                    let mut heard = [0; 100];
                    peer.read_exact(&mut heard).expect("an echo");
                    assert_eq!(heard[..], pattern(100, number + round), "{backend:?}, {number}");
                }
            }
        });
    }
}

#[test]
fn a_peer_that_does_not_read_gets_all_of_it_in_the_end() {
    for backend in backends() {
        does_not_read(backend, echo);
        does_not_read(backend, pass_back);
    }
}

fn does_not_read<P: Future<Output = ()> + 'static>(
    backend: (IoBackend, Io),
    protocol: fn(Rc<BufferedConn>) -> P,
) {
    const BYTES: usize = 24 << 20;
    let counts = serve(backend, 2, protocol, move |mut peers| {
        let mut other = peers.pop().expect("there are two");
        let mut slow = peers.pop().expect("there are two");
        let mut speaker = slow.try_clone().expect("a second handle");
        // More than all buffers between hold, so that it is held up until somebody reads.
        let speaker = thread::spawn(move || {
            speaker.write_all(&pattern(BYTES, 0)).expect("it is taken in the end");
            speaker.shutdown(Shutdown::Write).expect("it is open");
        });
        // Nor does it hold up others.
        for round in 0..200 {
            other.write_all(&pattern(3_000, round)).expect("it is taken");
            let mut heard = [0; 3_000];
            other.read_exact(&mut heard).expect("an echo");
            assert_eq!(heard[..], pattern(3_000, round));
        }
        let mut heard = Vec::with_capacity(BYTES);
        slow.read_to_end(&mut heard).expect("all of it, and then the end");
        assert!(heard == pattern(BYTES, 0), "{backend:?}: {} bytes", heard.len());
        speaker.join().expect("it has said everything");
    });
    let echoed = (BYTES + 200 * 3_000) as u64;
    assert_eq!((counts.bytes_received.get(), counts.bytes_sent.get()), (echoed, echoed), "{backend:?}");
}

#[test]
fn a_peer_that_goes_away_at_any_time_leaves_the_others_alone() {
    for backend in backends() {
        serve(backend, 40, echo, move |peers| {
            for (number, mut peer) in peers.into_iter().enumerate() {
                peer.write_all(&pattern(50_000, number)).expect("it is taken");
                if number % 2 == 0 {
                    // Unread bytes make this a reset, in the middle of what is being sent or after it.
                    continue;
                }
                peer.shutdown(Shutdown::Write).expect("it is open");
                let mut heard = Vec::new();
                peer.read_to_end(&mut heard).expect("all of it, and then the end");
                assert!(heard == pattern(50_000, number), "{backend:?}, {number}: {} bytes", heard.len());
            }
        });
    }
}

#[test]
fn what_another_task_stages_leaves_when_it_asks() {
    for backend in backends() {
        let two = Rc::new(RefCell::new(Vec::<Rc<BufferedConn>>::new()));
        let talk = |conn: Rc<BufferedConn>| {
            let two = Rc::clone(&two);
            two.borrow_mut().push(Rc::clone(&conn));
            poll_fn(move |_| {
                // To the other one, whose protocol is not polled for it.
                let other = two.borrow().iter().find(|other| !Rc::ptr_eq(other, &conn)).cloned();
                let other = other.expect("there are two");
                while let Some(slice) = conn.next_slice() {
                    other.write_buf().bytes().extend_from_slice(&[slice.len() as u8]);
                    other.write_buf().push(slice);
                    other.flush();
                    other.flush();
                }
                if conn.read_end().is_some() { Poll::Ready(()) } else { Poll::Pending }
            })
        };
        serve(backend, 2, talk, move |mut peers| {
            for round in 0..100 {
                let (from, to) = (round % 2, (round + 1) % 2);
                peers[from].write_all(&pattern(50, round)).expect("it is taken");
                let mut heard = [0; 51];
                peers[to].read_exact(&mut heard).expect("it is passed on");
                assert_eq!((heard[0], &heard[1..]), (50, &pattern(50, round)[..]), "{backend:?}");
            }
        });
        two.borrow_mut().clear();
    }
}

#[test]
fn what_is_staged_while_a_send_waits_follows_it() {
    for backend in backends() {
        let (all_said, said) = std::sync::mpsc::channel();
        let all_said = Rc::new(std::cell::Cell::new(Some(all_said)));
        let talk = |conn: Rc<BufferedConn>| {
            let all_said = Rc::clone(&all_said);
            async move {
                let (mut io, mut said) = (conn.io(), 0);
                while conn.sending_since().is_none() {
                    io.write_all(&pattern(100_000, said)).await.expect("room in the stage");
                    said += 1;
                    runtime::sleep(Duration::from_millis(1)).await;
                }
                io.write_all(b"the end").await.expect("room in the stage");
                all_said.take().expect("one connection").send(said).expect("the peer waits for it");
                let _ = io.read(&mut [0]).await;
            }
        };
        serve(backend, 1, talk, move |mut peers| {
            let said = said.recv_timeout(Duration::from_secs(20)).expect("a send waits");
            let expected: Vec<_> =
                (0..said).flat_map(|seed| pattern(100_000, seed)).chain(*b"the end").collect();
            let mut heard = vec![0; expected.len()];
            peers[0].read_exact(&mut heard).expect("all of it, although nobody says any more");
            assert!(heard == expected, "{backend:?}");
        });
    }
}

/// Runs `main` on a loop of its own.
fn run<T>((backend, io): (IoBackend, Io), main: impl AsyncFnOnce(Rc<IoContext>) -> T) -> T {
    let local = IoContext::new(Arc::default(), Moment::ZERO);
    let mut event_loop = Loop::new(backend, &io, &local).expect("the backend is there");
    event_loop.run(&Rc::clone(&local), main(local))
}

/// Polls `future` once and drops it.
async fn begun_and_dropped<T>(future: impl Future<Output = T>) -> Poll<T> {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

#[test]
fn connections_are_made_and_taken_and_those_that_nobody_waits_for_are_not_lost() {
    for backend in backends() {
        run(backend, async |_| {
            let socket = listener::bind(([127, 0, 0, 1], 0).into(), 16).expect("a free port");
            let address = socket.local_addr().expect("it is bound");
            let door = Listener::new(socket, backend.0).expect("it is taken");
            let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let elsewhere = other.local_addr().expect("it is bound");
            for _ in 0..20 {
                assert!(begun_and_dropped(door.accept()).await.is_pending());
                // The cancelled accept ends in this time.
                runtime::sleep(Duration::from_millis(1)).await;
                let near = listener::connect(address.into()).await.expect("it listens");
                let (far, peer) = door.accept().await.expect("a connection");
                assert_eq!(peer.expect("an address").ip(), address.ip(), "{backend:?}");
                drop((near, far));
                // Its socket must not be closed before the kernel knows of the connect: the next one has its number.
                let _ = begun_and_dropped(listener::connect(elsewhere.into())).await;
            }
            let refused = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let gone = refused.local_addr().expect("it is bound");
            drop(refused);
            let error = listener::connect(gone.into()).await.expect_err("nobody listens there");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{backend:?}");
            door.stop();
            while door.accept().await.is_ok() {}
        });
    }
}

#[test]
fn a_stop_ends_all_accepts_of_a_shared_socket_and_loses_no_connection() {
    for backend in backends() {
        run(backend, async |_| {
            let name = format!("ringway-shared-{}.sock", std::process::id());
            let path = UnixPath::new(std::env::temp_dir().join(name).to_str().expect("text"));
            // One epoll takes a descriptor once.
            let count = if backend.0 == IoBackend::Epoll { 1 } else { 2 };
            let all = |socket: &Arc<listener::SharedSocket>| -> Vec<Listener> {
                (0..count).map(|_| Listener::new(socket, backend.0).expect("it is taken")).collect()
            };
            let (socket, file) = unix_socket::bind(path, None, 16).expect("a free path");
            let doors = all(&socket);
            let near = listener::connect(EndpointAddress::Unix(path)).await.expect("it listens");
            let (far, peer) = doors[0].accept().await.expect("a connection");
            assert_eq!(peer, None, "{backend:?}: it has no address");
            drop((near, far));
            // Both wait in the kernel when one is stopped, and then both have ended.
            let mut pending = doors.iter().map(|door| Box::pin(door.accept())).collect::<Vec<_>>();
            for accept in &mut pending {
                assert!(poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx))).await.is_pending());
            }
            runtime::sleep(Duration::from_millis(1)).await;
            doors[0].stop();
            for accept in pending {
                assert!(accept.await.is_err(), "{backend:?}");
            }
            let last = doors.last().expect("one at least");
            assert!(last.is_stopped() && last.accept().await.is_err(), "{backend:?}");

            // Those that wait are accepted first, and nobody else can come.
            drop((doors, file, socket));
            let (socket, _file) = unix_socket::bind(path, None, 16).expect("it is free again");
            let doors = all(&socket);
            let mut waiting = Vec::new();
            for _ in 0..5 {
                waiting.push(listener::connect(EndpointAddress::Unix(path)).await.expect("it listens"));
            }
            doors.last().expect("one at least").stop();
            let late = listener::connect(EndpointAddress::Unix(path)).await.expect_err("it is stopped");
            assert_eq!(late.kind(), std::io::ErrorKind::ConnectionRefused, "{backend:?}");
            let mut served = 0;
            while doors[0].accept().await.is_ok() {
                served += 1;
            }
            assert_eq!(served, waiting.len(), "{backend:?}");
        });
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "shows that time passes")]
fn a_pause_is_as_long_as_it_should_be_and_a_dropped_one_wakes_nobody() {
    for backend in backends() {
        run(backend, async |local| {
            let before = std::time::Instant::now();
            for _ in 0..3 {
                assert!(begun_and_dropped(runtime::sleep(Duration::from_secs(60))).await.is_pending());
            }
            runtime::sleep(Duration::from_millis(30)).await;
            let took = before.elapsed();
            assert!(
                took >= Duration::from_millis(30) && took < Duration::from_secs(30),
                "{backend:?}: {took:?}"
            );
            let turns = local.counts().turns.get();
            assert!(turns <= 12, "{backend:?}: {turns} turns for one pause");
        });
    }
}

#[test]
fn a_bell_is_heard_in_every_state_of_its_listener() {
    for backend in backends() {
        run(backend, async |_| {
            let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("two descriptors");
            let mut notifier = runtime::Notifier::new(theirs, backend.0).expect("it is taken");
            ours.write_all(&[1; 3]).expect("it fits");
            notifier.notified().await;
            assert!(
                begun_and_dropped(notifier.notified()).await.is_pending(),
                "{backend:?}: what was heard is over"
            );
            let sender = thread::spawn(move || {
                ours.write_all(&[1]).expect("it fits");
                ours
            });
            notifier.notified().await;
            drop(sender.join().expect("it has notified"));
            notifier.notified().await;
        });
    }
}
