//! Our engine, as client and as server, over a stream of bytes.

use super::plan::{End, Field, Message, Plan, ReceivedMessage, SeenEnd, check_sensitive};
use super::{Record, Shared};
use ringway::buffer::{Output, Slice};
use ringway::http2::{
    Bounds, Connection, Ending, ErrorCode, Head, Heads, Memory, OpenError, Sent, StreamError,
};
use ringway::random::Random;
use ringway::time::Moment;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::task::{JoinSet, spawn_local};

pub(crate) struct Ours {
    connection: RefCell<Connection>,
    out: RefCell<Output>,
    heads: Rc<Heads>,
    now: Cell<Moment>,
    driver: RefCell<Option<Waker>>,
    /// Those who wait to open a stream.
    openers: RefCell<Vec<Waker>>,
    closes: Cell<bool>,
}

/// Bytes that may be on their way.
pub(crate) fn capacity(random: &mut Random) -> usize {
    [16, 1_000, 70_000][random.below(3) as usize]
}

impl Ours {
    fn new(random: &mut Random, make: fn(Rc<Bounds>, Rc<Memory>, &mut Output) -> Connection) -> Rc<Ours> {
        let bounds = Bounds {
            stream_window: [65_535, 70_000, 1 << 20][random.below(3) as usize],
            connection_window: [65_535, 1 << 20][random.below(2) as usize],
            max_send_buffer_size: [10_000, 1 << 18][random.below(2) as usize],
            max_header_list_size: 1 << 16,
            ..Bounds::default()
        };
        let heads = Heads::new();
        let mut out = Output::default();
        Rc::new(Ours {
            connection: RefCell::new(make(Rc::new(bounds), Memory::new(&heads), &mut out)),
            out: RefCell::new(out),
            heads,
            now: Cell::new(Moment::from_nanos(1)),
            driver: RefCell::new(None),
            openers: RefCell::default(),
            closes: Cell::new(false),
        })
    }

    pub(crate) fn server(random: &mut Random) -> Rc<Ours> {
        Ours::new(random, Connection::server)
    }

    pub(crate) fn client(random: &mut Random) -> Rc<Ours> {
        Ours::new(random, Connection::client)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Connection, &mut Output, Moment) -> T) -> T {
        let result = act(&mut self.connection.borrow_mut(), &mut self.out.borrow_mut(), self.now.get());
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
        result
    }

    pub(crate) fn shut_down(&self) {
        self.closes.set(true);
        self.with(|connection, out, _| connection.shut_down(out));
    }

    /// Nothing is left.
    pub(crate) fn is_empty(&self) {
        let connection = self.connection.borrow();
        assert_eq!((connection.failed(), connection.streams(), connection.held_bytes()), (None, 0, 0));
    }
}

/// Moves bytes in pieces of any size until both have ended.
pub(crate) async fn drive(ours: Rc<Ours>, mut io: DuplexStream, mut random: Random) {
    let sizes = [1, 9, 100, 5_000, 70_000];
    let most = sizes[random.below(5) as usize];
    let (mut unsent, mut sent) = (Vec::new(), 0);
    let mut input = Slice::default();
    let mut ended = false;
    poll_fn(|cx| {
        ours.driver.borrow_mut().replace(cx.waker().clone());
        ours.now.set(ours.now.get().plus(Duration::from_micros(500)));
        let now = ours.now.get();
        let (mut connection, mut out) = (ours.connection.borrow_mut(), ours.out.borrow_mut());
        connection.keep_task(cx);
        connection.send_due(now, &mut out);
        if connection.next_due().is_some() {
            cx.waker().wake_by_ref();
        }
        // Each turn moves one piece each way.
        if sent == unsent.len() {
            unsent = out.parts(0).collect::<Vec<_>>().concat();
            out.clear();
            sent = 0;
            connection.wake_waiting(now, &mut out);
        }
        let mut size = || 1 + random.below(most) as usize;
        if sent < unsent.len() {
            let piece = &unsent[sent..(sent + size()).min(unsent.len())];
            match Pin::new(&mut io).poll_write(cx, piece) {
                Poll::Ready(Ok(n)) => {
                    sent += n;
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(Err(_)) => ended = true,
                Poll::Pending => {}
            }
        } else if !out.is_empty() {
            cx.waker().wake_by_ref();
        } else if ours.closes.get() && connection.is_done() {
            return Poll::Ready(());
        }
        if input.is_empty() && !ended {
            let mut bytes = vec![0; size()];
            let mut buffer = ReadBuf::new(&mut bytes);
            if let Poll::Ready(read) = Pin::new(&mut io).poll_read(cx, &mut buffer) {
                ended = read.is_err() || buffer.filled().is_empty();
                input = Slice::copy_of(buffer.filled());
                cx.waker().wake_by_ref();
            }
        }
        connection.receive(&mut input, now, &mut out);
        for opener in ours.openers.borrow_mut().drain(..) {
            opener.wake();
        }
        assert_eq!(connection.failed(), None);
        if !ended {
            return Poll::Pending;
        }
        connection.end();
        if connection.streams() == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn put(head: &mut Head, fields: &[Field]) {
    for (name, value, sensitive) in fields {
        match sensitive {
            true => head.push_named_sensitive(name.as_bytes(), value),
            false => head.push_named(name.as_bytes(), value),
        }
    }
}

fn fields(head: &Head) -> Vec<Field> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a token");
    let fields = head.iter().filter(|field| field.name_bytes != b"x-case");
    fields.map(|field| (text(field.name_bytes), field.value.to_vec(), field.sensitive)).collect()
}

/// Sends a body and its end, waiting for the last bytes or leaving them to the engine.
async fn send(ours: &Ours, key: u32, message: &Message) {
    let trailers = |fields: &[Field]| {
        let mut head = ours.heads.head();
        put(&mut head, fields);
        head
    };
    let mut rest = Slice::copy_of(&message.body);
    while rest.len() > message.piece {
        let mut piece = rest.split_to(message.piece);
        let sent = poll_fn(|cx| wait(ours, key, &mut piece, false, cx)).await;
        if sent == Sent::Gone {
            return;
        }
    }
    let ending = match &message.end {
        End::Head => return,
        End::Data | End::Empty => Ending::EndStream,
        End::Trailers(fields) => Ending::Trailers(trailers(fields)),
        End::Reset(code) => Ending::Reset(ErrorCode(*code)),
    };
    if message.piece % 2 == 1 {
        // A holder that lets go of the stream now leaves the rest to the engine.
        return ours.with(|connection, out, now| connection.finish(key, rest, ending, now, out));
    }
    let ends = message.end == End::Data;
    let sent = poll_fn(|cx| wait(ours, key, &mut rest, ends, cx)).await;
    if ends || sent == Sent::Gone {
        return;
    }
    match &message.end {
        End::Trailers(fields) => {
            let head = trailers(fields);
            let _ = ours.with(|connection, out, _| connection.send_head(key, &head, true, out));
        }
        End::Reset(code) => {
            ours.with(|connection, out, now| connection.cancel(key, ErrorCode(*code), now, out))
        }
        _ => drop(poll_fn(|cx| wait(ours, key, &mut Slice::default(), true, cx)).await),
    }
}

fn wait(ours: &Ours, key: u32, data: &mut Slice, end: bool, cx: &Context<'_>) -> Poll<Sent> {
    ours.with(|connection, out, now| match connection.send_data(key, data, end, now, out) {
        Sent::Blocked => {
            connection.wait(key, cx);
            Poll::Pending
        }
        sent => Poll::Ready(sent),
    })
}

async fn read(ours: &Ours, key: u32, planned: &Message, seen: &mut ReceivedMessage) {
    check_sensitive(&planned.fields, &seen.fields);
    loop {
        match poll_fn(|cx| ours.connection.borrow_mut().poll_data(key, cx)).await {
            Ok(Some(data)) => {
                seen.body.extend_from_slice(&data);
                ours.with(|connection, out, _| connection.release(key, data.len(), out));
            }
            Ok(None) => break,
            Err(StreamError::Reset(code)) => return seen.end = Some(SeenEnd::Reset(code.0)),
            Err(error) => return seen.end = Some(SeenEnd::Other(format!("{error:?}"))),
        }
    }
    let trailers = ours.connection.borrow_mut().take_trailers(key);
    seen.end = Some(match trailers {
        None => SeenEnd::End,
        Some(trailers) => {
            let seen = fields(&trailers);
            if let End::Trailers(planned) = &planned.end {
                check_sensitive(planned, &seen);
            }
            SeenEnd::Trailers(seen)
        }
    });
}

/// Serves for ever.
pub(crate) async fn serve(ours: Rc<Ours>, plans: Rc<[Plan]>, record: Shared<Record>) {
    loop {
        let incoming = poll_fn(|cx| match ours.connection.borrow_mut().accept() {
            Some(incoming) => Poll::Ready(incoming),
            None => {
                ours.openers.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
        let (ours, plans, record) = (Rc::clone(&ours), Rc::clone(&plans), Rc::clone(&record));
        spawn_local(async move {
            let (key, head) = (incoming.key, incoming.head);
            let at = head.get_named(b"x-case").expect("it was sent");
            let at: usize = std::str::from_utf8(at).expect("digits").parse().expect("digits");
            let plan = &plans[at];
            assert!(!incoming.is_too_large && head.path() == Some(plan.path.as_bytes()));
            let mut seen = ReceivedMessage { fields: fields(&head), ..ReceivedMessage::default() };
            drop(head);
            if plan.is_early {
                respond(&ours, key, plan).await;
            }
            read(&ours, key, &plan.request, &mut seen).await;
            record.borrow_mut().requests[at] = Some(seen);
            if !plan.is_early {
                respond(&ours, key, plan).await;
            }
            ours.with(|connection, out, now| connection.let_go(key, now, out));
        });
    }
}

async fn respond(ours: &Ours, key: u32, plan: &Plan) {
    let mut head = ours.heads.head();
    head.set_status(200);
    put(&mut head, &plan.response.fields);
    let ends = plan.response.end == End::Head;
    if ours.with(|connection, out, _| connection.send_head(key, &head, ends, out)).is_ok() {
        send(ours, key, &plan.response).await;
    }
}

/// Makes all calls, as many at once as their server takes.
pub(crate) async fn call(ours: &Rc<Ours>, plans: Rc<[Plan]>, record: Shared<Record>) {
    let mut calls = JoinSet::new();
    for at in 0..plans.len() {
        let (ours, plans, record) = (Rc::clone(ours), Rc::clone(&plans), Rc::clone(&record));
        calls.spawn_local(async move {
            let plan = &plans[at];
            let mut head = ours.heads.head();
            head.set_method(b"POST");
            head.set_scheme(b"http");
            head.set_authority(b"test");
            head.set_path(plan.path.as_bytes());
            put(&mut head, &plan.request.fields);
            head.push_named(b"x-case", at.to_string().as_bytes());
            let ends = plan.request.end == End::Head;
            let key = poll_fn(|cx| {
                match ours.with(|connection, out, now| connection.open(&head, ends, now, out)) {
                    Ok(key) => Poll::Ready(key),
                    Err(OpenError::Full) => {
                        ours.openers.borrow_mut().push(cx.waker().clone());
                        Poll::Pending
                    }
                    Err(error) => panic!("{error:?}"),
                }
            })
            .await;
            send(&ours, key, &plan.request).await;
            if let Ok(head) = poll_fn(|cx| ours.connection.borrow_mut().poll_head(key, cx)).await {
                let mut seen = ReceivedMessage { fields: fields(&head), ..ReceivedMessage::default() };
                drop(head);
                read(&ours, key, &plan.response, &mut seen).await;
                record.borrow_mut().responses[at] = Some(seen);
            }
            ours.with(|connection, out, now| connection.let_go(key, now, out));
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("a call");
    }
}
