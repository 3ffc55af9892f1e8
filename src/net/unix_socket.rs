//! Unix sockets that listen, and their files.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

use super::listener::{SharedSocket, backlog_of};
use crate::config::UnixPath;

/// The file of a socket that listens. Dropping it removes the file.
#[derive(Debug)]
pub struct SocketFile {
    path: UnixPath,
    /// Device and inode: another process may have put its own file there since.
    id: (u64, u64),
    is_removed: AtomicBool,
}

impl SocketFile {
    /// Removes the file, if it is still this socket's.
    pub fn remove(&self) {
        // Once the socket is closed, the inode may be another file's.
        if self.is_removed.swap(true, Ordering::AcqRel) {
            return;
        }
        // It fails where the file or its folder has gone, which is as good.
        if id(self.path.path()).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(self.path.path());
        }
    }

    /// Sets the permissions: who may write to the file may connect.
    ///
    /// # Errors
    /// When the file has gone, or is not ours.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(self.path.path(), Permissions::from_mode(mode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Binds a listening socket for all workers. A socket's file that nobody listens at is replaced.
///
/// # Errors
/// When somebody listens there, when the file there is no socket, or when there can be no file.
pub fn bind(path: UnixPath, mode: Option<u32>, backlog: u32) -> io::Result<(Arc<SharedSocket>, SocketFile)> {
    if is_left_over(path.path())? {
        fs::remove_file(path.path())?;
    }
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path.path())?)?;
    let file = SocketFile { path, id: id(path.path())?, is_removed: AtomicBool::new(false) };
    // Nobody can connect before it listens.
    mode.map_or(Ok(()), |mode| file.set_mode(mode))?;
    socket.listen(backlog_of(backlog))?;
    Ok((SharedSocket::new(socket), file))
}

/// Whether [`bind`] would find the path free, or a file to replace.
///
/// # Errors
/// As those of [`bind`].
pub fn is_free(path: UnixPath) -> io::Result<()> {
    is_left_over(path.path())?;
    let folder = path.path().parent().unwrap_or(Path::new("/"));
    fs::metadata(folder).map(drop)
}

/// Whether there is the file of a socket that nobody listens at any more.
fn is_left_over(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => return Err(ErrorKind::AlreadyExists.into()),
        Ok(_) => {}
    }
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full queue is somebody's, and is not waited for.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        // Also a socket of datagrams, which refuses the kind of this one.
        Ok(()) | Err(_) => Err(ErrorKind::AddrInUse.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::path::PathBuf;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("ringway-unix-{name}-{}", std::process::id()));
            fs::create_dir(&path).expect("a new folder");
            Folder(path)
        }

        fn path(&self, name: &str) -> UnixPath {
            UnixPath::new(self.0.join(name).to_str().expect("text"))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: UnixPath) -> u32 {
        fs::metadata(path.path()).expect("the file").permissions().mode() & 0o777
    }

    #[test]
    fn a_socket_has_its_mode_and_its_file_goes_with_it() {
        let folder = Folder::new("mode");
        let path = folder.path("a.sock");
        let (socket, file) = bind(path, Some(0o620), 16).expect("a free path");
        assert_eq!(mode(path), 0o620);
        UnixStream::connect(path.path()).expect("it listens");
        file.set_mode(0o600).expect("its own file");
        assert_eq!(mode(path), 0o600);
        drop(file);
        assert!(!path.path().exists());
        drop(socket);
    }

    #[test]
    fn what_a_dead_process_left_is_replaced_and_nothing_else() {
        let folder = Folder::new("left");
        let path = folder.path("a.sock");
        drop(UnixListener::bind(path.path()).expect("a free path"));
        is_free(path).expect("nobody listens there");
        let (_socket, _file) = bind(path, None, 16).expect("nobody listens there");
        assert_eq!(bind(path, None, 16).expect_err("it is live").kind(), ErrorKind::AddrInUse);
        UnixStream::connect(path.path()).expect("it still listens");

        let busy = folder.path("busy.sock");
        let (_socket, _file) = bind(busy, None, 0).expect("a free path");
        let _first = UnixStream::connect(busy.path()).expect("room for one");
        assert_eq!(is_free(busy).expect_err("its queue is full").kind(), ErrorKind::AddrInUse);

        let datagrams = folder.path("d.sock");
        let _bound = UnixDatagram::bind(datagrams.path()).expect("a free path");
        assert_eq!(is_free(datagrams).expect_err("another kind").kind(), ErrorKind::AddrInUse);

        let other = folder.path("note.txt");
        fs::write(other.path(), "kept").expect("a file");
        assert_eq!(bind(other, None, 16).expect_err("a file").kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(other.path()).expect("it is still there"), "kept");
        let nowhere = folder.path("no/a.sock");
        for refused in [bind(nowhere, None, 16).map(drop), is_free(nowhere)] {
            assert_eq!(refused.expect_err("no folder").kind(), ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_file_of_another_process_is_left() {
        let folder = Folder::new("other");
        let path = folder.path("a.sock");
        let (_socket, file) = bind(path, None, 16).expect("a free path");
        fs::remove_file(path.path()).expect("the file");
        // The socket that is open still holds the inode of its file.
        let _other = UnixListener::bind(path.path()).expect("a free path");
        drop(file);
        assert!(path.path().exists());
    }
}
