//! Polls the futures of one worker: its connections, accepts, connects, and all else that waits on its thread.
//!
//! Tasks are polled in the order in which they were woken. A waker is the number of a task's slot
//! ([`numbered`]); it is good on the worker's thread alone, where all of them stay.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::numbered::{self, Numbered};

/// Polls of one turn beyond two for each task that was woken before it, so that tasks that wake one another are seen
/// through in one turn, and none keeps the worker from its sockets.
const POLLS_MORE: usize = 16;

thread_local! {
    /// The tasks of this thread that were woken, and which of all tasks are among them.
    static WOKEN: Woken = const { Woken { queue: RefCell::new(VecDeque::new()), queued: RefCell::new(Vec::new()) } };
}

struct Woken {
    queue: RefCell<VecDeque<usize>>,
    queued: RefCell<Vec<bool>>,
}

impl Woken {
    fn push(&self, key: usize) {
        let mut queued = self.queued.borrow_mut();
        if queued.len() <= key {
            queued.resize(key + 1, false);
        }
        if !std::mem::replace(&mut queued[key], true) {
            self.queue.borrow_mut().push_back(key);
        }
    }

    fn pop(&self) -> Option<usize> {
        let key = self.queue.borrow_mut().pop_front()?;
        self.queued.borrow_mut()[key] = false;
        Some(key)
    }

    fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    fn clear(&self) {
        self.queue.borrow_mut().clear();
        self.queued.borrow_mut().clear();
    }
}

/// The tasks of this thread, by the numbers of their slots.
struct Tasks;

impl Numbered for Tasks {
    fn wake(key: usize) {
        let _ = WOKEN.try_with(|woken| woken.push(key));
    }
}

/// The tasks of one thread.
pub(super) struct Executor {
    /// A task is taken out while it is polled.
    tasks: RefCell<Slab<Option<Task>>>,
    /// The loop's main future is to be polled. It is none of the tasks, but has a slot among them.
    main: Cell<bool>,
    ended: Cell<bool>,
    /// In a simulation, whose tasks they are.
    #[cfg(test)]
    parties: Parties,
}

/// The slot of the loop's main future.
const MAIN: usize = 0;

type Task = Pin<Box<dyn Future<Output = ()>>>;

impl Executor {
    /// No tasks yet. There is one executor on a thread at a time.
    pub(super) fn new() -> Executor {
        WOKEN.with(Woken::clear);
        let mut tasks = Slab::new();
        tasks.insert(None);
        Executor {
            tasks: RefCell::new(tasks),
            main: Cell::new(true),
            ended: Cell::new(false),
            #[cfg(test)]
            parties: Parties::default(),
        }
    }

    /// Wakes the loop's main future.
    pub(super) fn main_waker(&self) -> Waker {
        numbered::waker::<Tasks>(MAIN)
    }

    /// Whether the loop's main future is to be polled now: at first, and when it was woken.
    pub(super) fn take_main(&self) -> bool {
        self.main.replace(false)
    }

    /// Adds a task. A panic in it ends it alone, and `panicked` is told.
    pub(super) fn spawn(
        &self,
        panicked: impl FnOnce() + 'static,
        future: impl Future<Output = ()> + 'static,
    ) {
        let task = Box::pin(Contained { panicked: Some(panicked), future });
        if self.ended.get() {
            return; // with all others
        }
        let key = self.tasks.borrow_mut().insert(Some(task));
        #[cfg(test)]
        self.parties.add(key);
        WOKEN.with(|woken| woken.push(key));
    }

    /// Whether a task, or the main future, is to be polled.
    pub(super) fn has_woken(&self) -> bool {
        self.main.get() || WOKEN.with(|woken| woken.len() > 0)
    }

    /// Polls the tasks that were woken, and those that they wake, within bounds.
    pub(super) fn run(&self) {
        WOKEN.with(|woken| {
            let polls = 2 * woken.len() + POLLS_MORE;
            for _ in 0..polls {
                let Some(key) = woken.pop() else { return };
                self.poll(key);
            }
        });
    }

    fn poll(&self, key: usize) {
        if key == MAIN {
            return self.main.set(true);
        }
        // A late wake-up may come when the task has ended.
        let Some(mut task) = self.tasks.borrow_mut().get_mut(key).and_then(Option::take) else { return };
        #[cfg(test)]
        self.parties.enter(key);
        let waker = numbered::waker::<Tasks>(key);
        let pending = task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        if pending {
            self.tasks.borrow_mut()[key] = Some(task);
        } else {
            drop_contained(task);
            self.tasks.borrow_mut().remove(key);
        }
    }

    /// Drops all tasks, and takes no more.
    pub(super) fn end(&self) {
        self.ended.set(true);
        // They may refer to one another, and wake one another, while they are dropped.
        let tasks = self.tasks.take();
        tasks.into_iter().filter_map(|(_, task)| task).for_each(drop_contained);
        WOKEN.with(Woken::clear);
    }
}

/// Several workers on one thread, each with tasks of its own: the parties of a simulation. A task belongs to the party of
/// the one that adds it.
#[cfg(test)]
#[derive(Default)]
struct Parties {
    /// The party whose task is polled, or was last.
    now: Cell<usize>,
    /// That of each task, by its number.
    of: RefCell<Vec<usize>>,
}

#[cfg(test)]
impl Parties {
    fn add(&self, key: usize) {
        let mut of = self.of.borrow_mut();
        if of.len() <= key {
            of.resize(key + 1, 0);
        }
        of[key] = self.now.get();
    }

    fn enter(&self, key: usize) {
        self.now.set(self.of(key));
    }

    fn of(&self, key: usize) -> usize {
        self.of.borrow().get(key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
impl Executor {
    /// Tasks that are added from now on belong to this party, until a task of another one is polled.
    pub(super) fn set_party(&self, party: usize) {
        self.parties.now.set(party);
    }

    /// The parties that have woken tasks, each once.
    pub(super) fn woken_parties(&self) -> Vec<usize> {
        let mut woken = WOKEN
            .with(|woken| woken.queue.borrow().iter().map(|key| self.parties.of(*key)).collect::<Vec<_>>());
        woken.sort_unstable();
        woken.dedup();
        woken
    }

    /// As [`Executor::run`], but polls tasks of this party alone.
    pub(super) fn run_party(&self, party: usize) {
        let of_party = |key: &usize| self.parties.of(*key) == party;
        let next = |woken: &Woken| {
            let at = woken.queue.borrow().iter().position(of_party)?;
            let key = woken.queue.borrow_mut().remove(at)?;
            woken.queued.borrow_mut()[key] = false;
            Some(key)
        };
        WOKEN.with(|woken| {
            let polls = 2 * woken.queue.borrow().iter().filter(|key| of_party(key)).count() + POLLS_MORE;
            for _ in 0..polls {
                let Some(key) = next(woken) else { return };
                self.poll(key);
            }
        });
    }
}

/// A panic in a task's own drops is no reason to end the worker.
fn drop_contained(task: Task) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("tasks", &self.tasks.borrow().len()).finish_non_exhaustive()
    }
}

/// A future that panics for itself alone. In one box with what is told then.
struct Contained<P, F> {
    panicked: Option<P>,
    future: F,
}

impl<P: FnOnce(), F: Future<Output = ()>> Future for Contained<P, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // WHY UNSAFE: an async block that pinned the future inside itself would hold it twice.
        // SAFETY: `future` is never moved out of its pinned place; nothing says that `panicked` is pinned.
        let (panicked, future) = unsafe {
            let this = self.get_unchecked_mut();
            (&mut this.panicked, Pin::new_unchecked(&mut this.future))
        };
        catch_unwind(AssertUnwindSafe(|| future.poll(cx))).unwrap_or_else(|_| {
            if let Some(panicked) = panicked.take() {
                panicked();
            }
            Poll::Ready(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn tasks_are_polled_in_the_order_in_which_they_were_woken() {
        let executor = Executor::new();
        let (seen, wakers) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
        for number in 0..4 {
            let (seen, wakers) = (Rc::clone(&seen), Rc::clone(&wakers));
            let task = poll_fn(move |cx| {
                seen.borrow_mut().push(number);
                wakers.borrow_mut().push(cx.waker().clone());
                Poll::<()>::Pending
            });
            executor.spawn(|| (), task);
        }
        executor.run();
        assert_eq!(seen.take(), [0, 1, 2, 3]);
        let wakers = wakers.take();
        for number in [2, 0, 2, 3] {
            wakers[number].wake_by_ref();
        }
        assert!(executor.has_woken());
        executor.run();
        assert_eq!(seen.take(), [2, 0, 3]);
        assert!(executor.take_main() && !executor.has_woken());
        executor.main_waker().wake();
        executor.run();
        assert!(executor.take_main() && !executor.has_woken());
    }

    #[test]
    fn a_task_that_wakes_itself_leaves_the_turn_to_others() {
        let executor = Executor::new();
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let task = poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        executor.spawn(|| (), task);
        executor.run();
        assert_eq!(polls.get(), 2 + POLLS_MORE);
        assert!(executor.has_woken());
    }

    #[test]
    fn a_slot_is_used_again_and_its_late_wake_ups_hurt_nobody() {
        let executor = Executor::new();
        let late = Rc::new(RefCell::new(None));
        for _ in 0..3 {
            let kept = Rc::clone(&late);
            executor.spawn(
                || (),
                poll_fn(move |cx| {
                    *kept.borrow_mut() = Some(cx.waker().clone());
                    Poll::Ready(())
                }),
            );
            executor.run();
            late.borrow().as_ref().map(Waker::wake_by_ref);
            executor.run();
        }
        assert_eq!((executor.tasks.borrow().len(), executor.tasks.borrow().vacant_key()), (1, 1));
        drop(executor);
        late.take().expect("it was polled").wake();
        let next = Executor::new();
        assert!(next.take_main() && !next.has_woken(), "it was for another one");
    }

    #[test]
    fn a_panic_ends_its_own_task_alone_and_is_told() {
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("as told");
            }
        }
        let executor = Executor::new();
        let (told, others) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for number in 0..6 {
            let (told, others) = (Rc::clone(&told), Rc::clone(&others));
            executor.spawn(move || told.set(told.get() + 1), async move {
                assert!(number != 1, "as told");
                let _panics = if number == 3 { Some(Panics) } else { None };
                others.set(others.get() + 1);
            });
        }
        executor.run();
        assert_eq!((told.get(), others.get(), executor.tasks.borrow().len()), (2, 5, 1));
    }

    #[test]
    fn tasks_that_spawn_tasks_and_end_with_the_executor() {
        let executor = Rc::new(Executor::new());
        let dropped = Rc::new(Cell::new(0));
        struct Counts(Rc<Cell<u32>>);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let (inner, counts) = (Rc::clone(&executor), Counts(Rc::clone(&dropped)));
        let again = Counts(Rc::clone(&dropped));
        executor.spawn(|| (), async move {
            let _counts = counts;
            inner.spawn(|| (), async move {
                let _again = again;
                std::future::pending().await
            });
            std::future::pending().await
        });
        executor.run();
        assert_eq!((dropped.get(), executor.tasks.borrow().len()), (0, 3));
        executor.end();
        executor.spawn(|| (), async {});
        assert_eq!((dropped.get(), executor.tasks.borrow().len()), (2, 0));
    }
}
