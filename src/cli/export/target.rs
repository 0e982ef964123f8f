//! The target of an export: stdout, or a file that gets its name once it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Stdout, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Only the owner may read the file: it contains personal data.
const MODE: u32 = 0o600;

/// Written to in pieces. Without [`finish`](Target::finish) no file is left.
pub(super) struct Target {
    // Before `partial`, so that the file is closed before its name is removed.
    out: Out,
    partial: Option<Partial>,
}

enum Out {
    Stdout(BufWriter<Stdout>),
    File(BufWriter<File>),
}

/// The name of an incomplete file, which is removed on drop.
struct Partial {
    now: PathBuf,
    then: PathBuf,
}

impl Target {
    /// Opens `path`, or stdout without one. A pipe or a device is written to directly.
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            let out = Out::Stdout(BufWriter::new(io::stdout()));
            return Ok(Self { out, partial: None });
        };
        let cannot = || format!("cannot write {}", path.display());
        let there = fs::metadata(path);
        if there.as_ref().is_ok_and(fs::Metadata::is_dir) {
            return Err(io::Error::from(io::ErrorKind::IsADirectory)).with_context(cannot);
        }
        if there.is_ok_and(|there| !there.is_file()) {
            let file = OpenOptions::new()
                .write(true)
                .open(path)
                .with_context(cannot)?;
            let out = Out::File(BufWriter::new(file));
            return Ok(Self { out, partial: None });
        }
        let name = path.file_name().with_context(cannot)?.to_string_lossy();
        let now = path.with_file_name(format!(".{name}.partial"));
        let file = claim(&now).with_context(cannot)?;
        Ok(Self {
            out: Out::File(BufWriter::new(file)),
            partial: Some(Partial {
                now,
                then: path.to_owned(),
            }),
        })
    }

    /// Makes the file durable and gives it its name.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        if let (Out::File(file), Some(partial)) = (&self.out, &self.partial) {
            file.get_ref().sync_all()?;
            fs::rename(&partial.now, &partial.then)
                .with_context(|| format!("cannot write {}", partial.then.display()))?;
        }
        Ok(())
    }
}

/// A new, locked file: the lock tells it from the file of an export that was killed.
fn claim(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(path);
        match file {
            Ok(file) => {
                file.lock()?;
                if is_at(&file, path)? {
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => clear(path)?,
            Err(error) => return Err(error),
        }
    }
}

/// Removes the file of an export that was killed, since it contains personal data.
fn clear(path: &Path) -> io::Result<()> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => {
            let old = File::open(path)?;
            if old.try_lock().is_err() {
                let text = "another export is writing to it";
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
            }
            if is_at(&old, path)? {
                fs::remove_file(path).or_else(gone)?;
            }
            Ok(())
        }
        Ok(_) => fs::remove_file(path).or_else(gone),
        Err(error) => gone(error),
    }
}

/// Whether this file still has this name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match fs::symlink_metadata(path) {
        Ok(there) => Ok(id(there) == id(file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.out {
            Out::Stdout(out) => out.write(bytes),
            Out::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.out {
            Out::Stdout(out) => out.flush(),
            Out::File(out) => out.flush(),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Already renamed if the export is complete.
        let _ = fs::remove_file(&self.now);
    }
}
