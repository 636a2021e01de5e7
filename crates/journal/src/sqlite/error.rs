//! What SQLite and the file system report, as the port's typed errors.
//! Start at [`sql`] and [`io`].

use contract::journal::Error;
use rusqlite::ErrorCode;
use std::io::ErrorKind;
use std::path::Path;

/// A failure of one job in a transaction.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Only this request is refused; it has written nothing.
    Refuse(Error),
    /// The whole transaction is to be rolled back.
    Abort(Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Abort(sql(error))
    }
}

impl Stop {
    /// A failure met while checking, before anything was written: damage to one stream concerns that stream only.
    pub(crate) fn checking(error: Error) -> Self {
        match error {
            Error::Corrupt(_) => Self::Refuse(error),
            other => Self::Abort(other),
        }
    }
}

/// From SQLite.
pub(crate) fn sql(error: rusqlite::Error) -> Error {
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::Full(why),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Error::ReadOnly(why)
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => Error::Io(why),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            Error::Busy(why)
        }
        Some(ErrorCode::TooBig) => Error::Invalid(why),
        // Corrupt pages, a foreign file, rows of the wrong shape, a violated constraint: not what was written.
        _ => Error::Corrupt(why),
    }
}

/// From the file system, about a file that a request brings. Want of descriptors says nothing about the disk: that
/// request alone waits and comes again.
pub(crate) fn file(path: &Path, error: &std::io::Error) -> Stop {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => {
            Stop::Refuse(Error::Busy(format!("{}: {error}", path.display())))
        }
        _ => Stop::Abort(io(path, error)),
    }
}

/// From the file system, about this path.
pub(crate) fn io(path: &Path, error: &std::io::Error) -> Error {
    let why = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Error::ReadOnly(why),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Full(why),
        _ => Error::Io(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn result_codes_become_kinds() {
        let of = |code| sql(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(matches!(of(ffi::SQLITE_FULL), Error::Full(_)));
        assert!(matches!(of(ffi::SQLITE_READONLY), Error::ReadOnly(_)));
        assert!(matches!(of(ffi::SQLITE_CANTOPEN), Error::ReadOnly(_)));
        assert!(matches!(of(ffi::SQLITE_IOERR_FSYNC), Error::Io(_)));
        assert!(matches!(of(ffi::SQLITE_CORRUPT), Error::Corrupt(_)));
        assert!(matches!(of(ffi::SQLITE_NOTADB), Error::Corrupt(_)));
        assert!(matches!(of(ffi::SQLITE_BUSY_SNAPSHOT), Error::Busy(_)));
    }

    #[test]
    fn want_of_descriptors_concerns_one_request() {
        let of = |code| file(Path::new("x"), &std::io::Error::from_raw_os_error(code));
        assert!(matches!(of(libc::EMFILE), Stop::Refuse(Error::Busy(_))));
        assert!(matches!(of(libc::EIO), Stop::Abort(Error::Io(_))));
        assert!(matches!(of(libc::ENOSPC), Stop::Abort(Error::Full(_))));
    }

    #[test]
    fn io_errors_become_kinds() {
        let of = |kind: ErrorKind| io(Path::new("x"), &kind.into());
        assert!(matches!(of(ErrorKind::QuotaExceeded), Error::Full(_)));
        assert!(matches!(of(ErrorKind::StorageFull), Error::Full(_)));
        assert!(matches!(of(ErrorKind::ReadOnlyFilesystem), Error::ReadOnly(_)));
        assert!(matches!(of(ErrorKind::UnexpectedEof), Error::Io(_)));
    }
}
