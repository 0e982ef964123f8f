//! Where an export goes: stdout, or a file that has its name only once it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Stdout, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Whom a file belongs to reads it, and nobody else: it holds personal data.
const MODE: u32 = 0o600;

/// Written to in pieces; what was not [finished](Target::finish) leaves no file.
pub(super) struct Target {
    // Before `partial`: it is closed when the name goes.
    out: Out,
    partial: Option<Partial>,
}

enum Out {
    Stdout(BufWriter<Stdout>),
    File(BufWriter<File>),
}

/// The name of a file that is not whole; removed when dropped.
struct Partial {
    now: PathBuf,
    then: PathBuf,
}

impl Target {
    /// Opens `path`, or stdout where there is none. A pipe or a device is written to as it is.
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            let out = Out::Stdout(BufWriter::new(io::stdout()));
            return Ok(Self { out, partial: None });
        };
        let cannot = || format!("{} cannot be written", path.display());
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

    /// All is written: it lasts, and has its name.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        if let (Out::File(file), Some(partial)) = (&self.out, &self.partial) {
            file.get_ref().sync_all()?;
            fs::rename(&partial.now, &partial.then)
                .with_context(|| format!("{} cannot be written", partial.then.display()))?;
        }
        Ok(())
    }
}

/// A new file that is locked, so that no other export takes it for what a killed one left.
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

/// Removes what an export left that was killed: it holds personal data, and nobody else would.
fn clear(path: &Path) -> io::Result<()> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_file() => {
            let old = File::open(path)?;
            if old.try_lock().is_err() {
                let text = "another export is writing it";
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
        // Gone already where it was renamed.
        let _ = fs::remove_file(&self.now);
    }
}
