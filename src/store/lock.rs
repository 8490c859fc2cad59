//! One process owns a state directory: a lock on the file `lock` in it, which also names the holder.
//!
//! The operating system drops the lock with the process, however it ends; a file left behind is no lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::StoreError;

/// The held lock; dropping it releases the directory.
#[derive(Debug)]
pub(super) struct DirLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl DirLock {
    /// Takes the lock, or says who has it.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("lock");
        let io = |doing| {
            let path = path.clone();
            move |source| StoreError::Io { doing, path, source }
        };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { dir: dir.to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        file.set_len(0).map_err(io("write"))?;
        file.rewind().map_err(io("write"))?;
        writeln!(file, "{}", std::process::id()).map_err(io("write"))?;
        Ok(Self(file))
    }
}

/// The process that recorded itself in the lock file.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    (&*file).take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
