//! Watched files, by their metadata: a file that is changed in place, renamed over, or reached by another symbolic link
//! is another file. A look at all of them is one `statx` each; [`housekeeping`](super::housekeeping) says when.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::{fmt, mem};

use parking_lot::{Mutex, MutexGuard};

/// All files whose owners want to be told of changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Files(Arc<Mutex<Vec<Entry>>>);

/// Files whose owner is told when one of them changes. They are watched until this is dropped.
#[derive(Debug)]
pub struct WatchedFiles {
    state: Mutex<Watched>,
    absent: Absent,
}

struct Entry {
    watched: Weak<WatchedFiles>,
    tell: Box<dyn Fn() + Send>,
}

/// The meaning of a missing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// No change: the file is about to come back.
    IsUnderWay,
    /// A change.
    IsAChange,
}

#[derive(Debug, Default)]
struct Watched {
    paths: Vec<PathBuf>,
    /// Fingerprints when their owner read them.
    read: Stamps,
    /// Fingerprints at the last look.
    seen: Stamps,
    /// Whether each file was missing at two looks, which the log has said.
    missing: Vec<bool>,
}

/// The fingerprint of each file; `None` for a missing one.
type Stamps = Vec<Option<Stamp>>;

/// The fingerprint of a file's state: device, inode, length, and time of writing.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

fn stamps(paths: &[PathBuf]) -> Stamps {
    paths.iter().map(|path| stamp(path)).collect()
}

impl Files {
    /// Calls `tell` when one of these has changed since it was read. `tell` must not wait.
    pub(super) fn watch(&self, watched: &Arc<WatchedFiles>, tell: impl Fn() + Send + 'static) {
        self.all().push(Entry { watched: Arc::downgrade(watched), tell: Box::new(tell) });
    }

    /// Looks at all of them. True if a change is under way, so that another look should follow soon.
    pub(super) fn look(&self) -> bool {
        let mut is_under_way = false;
        self.all().retain(|entry| {
            let Some(watched) = entry.watched.upgrade() else { return false };
            match watched.look() {
                Look::Same => {}
                Look::UnderWay => is_under_way = true,
                Look::Changed => (entry.tell)(),
            }
            true
        });
        is_under_way
    }

    /// How many of them are missing whose owners are not told of that; a file that several owners watch counts once.
    pub(super) fn missing(&self) -> usize {
        let all = self.all();
        let watched = all.iter().filter_map(|entry| entry.watched.upgrade());
        watched.flat_map(|watched| watched.missing()).collect::<BTreeSet<_>>().len()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock()
    }
}

/// The result of a look.
enum Look {
    Same,
    /// It differs from the last look.
    UnderWay,
    Changed,
}

impl WatchedFiles {
    /// Watches these files, as they are now: they are about to be read.
    pub fn new(paths: Vec<PathBuf>, absent: Absent) -> Arc<WatchedFiles> {
        let watched = WatchedFiles { state: Mutex::default(), absent };
        watched.set(paths);
        Arc::new(watched)
    }

    /// Takes the present state as known: the owner is about to read the files.
    pub fn are_read(&self) {
        let mut state = self.state();
        let now = stamps(&state.paths);
        state.read.clone_from(&now);
        state.seen = now;
    }

    /// Watches these files from now on. Files that were watched before keep the state in which they were read.
    pub fn set(&self, paths: Vec<PathBuf>) {
        let mut state = self.state();
        if paths == state.paths {
            return;
        }
        let before = mem::take(&mut *state);
        for path in &paths {
            let known = before.paths.iter().position(|known| known == path);
            let (read, seen, missing) = match known {
                Some(at) => (before.read[at], before.seen[at], before.missing[at]),
                None => {
                    let now = stamp(path);
                    (now, now, false)
                }
            };
            state.read.push(read);
            state.seen.push(seen);
            state.missing.push(missing);
        }
        state.paths = paths;
    }

    /// Reports each change once. A file has to look alike twice, as its writing may be under way.
    fn look(&self) -> Look {
        let mut state = self.state();
        let now = stamps(&state.paths);
        if self.absent == Absent::IsUnderWay {
            state.note_missing(&now);
        }
        if now != state.seen {
            state.seen = now;
            return Look::UnderWay;
        }
        let is_whole = self.absent == Absent::IsAChange || now.iter().all(Option::is_some);
        if is_whole && now != state.read {
            state.read = now;
            return Look::Changed;
        }
        Look::Same
    }

    /// The files that are missing.
    fn missing(&self) -> Vec<PathBuf> {
        let state = self.state();
        let all = state.paths.iter().zip(&state.missing);
        all.filter(|(_, is_missing)| **is_missing).map(|(path, _)| path.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, Watched> {
        self.state.lock()
    }
}

impl Watched {
    /// Notes which files are missing, and logs each once. A file that is renamed over is gone for less than two looks.
    fn note_missing(&mut self, now: &Stamps) {
        let all = self.paths.iter().zip(now).zip(&self.seen).zip(&mut self.missing);
        for (((path, now), seen), missing) in all {
            let file = path.display();
            match (now.is_none(), seen.is_none(), *missing) {
                (true, true, false) => {
                    tracing::error!(%file, "the file is missing; what was read of it stays in use")
                }
                (false, _, true) => tracing::info!(%file, "the file is there again"),
                _ => continue,
            }
            *missing = now.is_none();
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("watched", &self.watched).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_change_is_told_once_when_it_is_whole() {
        let folder = std::env::temp_dir().join(format!("ringway-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.join(name));
        fs::write(&one, "1").unwrap();
        for absent in [Absent::IsUnderWay, Absent::IsAChange] {
            let files = Files::default();
            let told = Arc::new(AtomicU32::new(0));
            let tell = {
                let told = Arc::clone(&told);
                move || {
                    told.fetch_add(1, Ordering::Relaxed);
                }
            };
            let watched = WatchedFiles::new(vec![one.clone()], absent);
            files.watch(&watched, tell);
            let look = |what: &str, is_under_way: bool, news: u32| {
                assert_eq!(files.look(), is_under_way, "{what}");
                assert_eq!(told.swap(0, Ordering::Relaxed), news, "{what}");
            };
            look("as it was read", false, 0);
            fs::write(&one, "changed").unwrap();
            look("changed", true, 0);
            fs::write(&one, "once more").unwrap();
            look("changed again", true, 0);
            look("stays so", false, 1);
            look("said already", false, 0);

            fs::remove_file(&one).unwrap();
            look("gone", true, 0);
            assert_eq!(files.missing(), 0, "it may be renamed over");
            look("stays away", false, u32::from(absent == Absent::IsAChange));
            let counts = usize::from(absent == Absent::IsUnderWay);
            assert_eq!(files.missing(), counts, "an owner who is told says it himself");
            look("is still away", false, 0);
            let other = WatchedFiles::new(vec![one.clone(), folder.join("never")], absent);
            files.watch(&other, || ());
            assert!(!files.look());
            assert_eq!(files.missing(), 2 * counts, "one that two owners watch, and one that never was");
            drop(other);
            fs::write(&one, "is back").unwrap();
            look("back", true, 0);
            assert_eq!(files.missing(), 0);
            watched.are_read();
            look("read by its owner", false, 0);

            fs::write(&two, "2").unwrap();
            watched.set(vec![one.clone(), two.clone()]);
            look("one more", false, 0);
            fs::write(&two, "other").unwrap();
            look("the new one changed", true, 0);
            look("the new one stays so", false, 1);
            drop(watched);
            fs::write(&one, format!("{absent:?}")).unwrap();
            look("nobody wants to know", false, 0);
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
