//! Stderr of the process: lines wait in memory, and one thread writes them. Nothing else writes to stderr, so a reader
//! that stops reading blocks nothing.

use std::io::{self, Write};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Maximum bytes of waiting lines; further lines are dropped.
const ROOM: usize = 1 << 20;

/// Bytes per write call, so that a pipe with a slow reader shows progress.
const PIECE: usize = 4096;

/// If one write takes longer, nobody reads.
const STUCK: Duration = Duration::from_secs(30);

/// The pause before the next attempt, if a full pipe refuses instead of waiting.
const AGAIN: Duration = Duration::from_millis(20);

/// How long dropped lines are reported.
const LATELY: Duration = Duration::from_mins(10);

pub(crate) static STDERR: LazyLock<Stderr> = LazyLock::new(|| {
    // Without a thread nothing is written; then lines that do not fit are dropped and counted.
    let _ = thread::Builder::new()
        .name("stderr".to_owned())
        .spawn(|| STDERR.queue.write_to(&mut io::stderr()));
    Stderr {
        queue: Queue::default(),
    }
});

#[derive(Debug)]
pub(crate) struct Stderr {
    queue: Queue,
}

impl Stderr {
    /// Queues text to be written. Never waits.
    pub(crate) fn write(&self, text: &[u8]) {
        self.queue.push(text);
    }

    /// Waits until everything is written, at most for `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        self.queue.flush(limit);
    }

    /// The number of lines that were not written, because there was no room or the write failed.
    #[must_use]
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.state().dropped
    }

    /// Whether lines were dropped in the last ten minutes.
    #[must_use]
    pub(crate) fn drops(&self) -> bool {
        let at = self.queue.state().dropped_at;
        at.is_some_and(|at| at.elapsed() < LATELY)
    }

    /// Whether the writer has been in one write for 30 seconds.
    #[must_use]
    pub(crate) fn is_stuck(&self) -> bool {
        self.queue.state().is_stuck(Instant::now())
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Since when the writer has been in its current write.
    writing: Option<Instant>,
    dropped: u64,
    dropped_at: Option<Instant>,
}

impl State {
    fn count_dropped(&mut self, text: &[u8]) {
        self.dropped += lines(text);
        self.dropped_at = Some(Instant::now());
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.writing.is_some_and(|since| now - since >= STUCK)
    }
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, text: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() + text.len() > ROOM {
            state.count_dropped(text);
            return;
        }
        state.waiting.extend_from_slice(text);
        drop(state);
        self.changed.notify_all();
    }

    fn flush(&self, limit: Duration) {
        let busy = |state: &mut State| !state.waiting.is_empty() || state.writing.is_some();
        let _ = self.changed.wait_timeout_while(self.state(), limit, busy);
    }

    fn write_to(&self, sink: &mut impl Write) {
        loop {
            let idle = |state: &mut State| state.waiting.is_empty();
            let mut state = self
                .changed
                .wait_while(self.state(), idle)
                .unwrap_or_else(PoisonError::into_inner);
            let text = std::mem::take(&mut state.waiting);
            state.writing = Some(Instant::now());
            drop(state);
            let mut rest = &*text;
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(whole_lines(rest));
                rest = behind;
                self.write_piece(piece, sink);
            }
            self.state().writing = None;
            self.changed.notify_all();
        }
    }

    fn write_piece(&self, piece: &[u8], sink: &mut impl Write) {
        let mut rest = piece;
        while !rest.is_empty() {
            self.state().writing = Some(Instant::now());
            let Ok(written) = write_some(rest, sink) else {
                self.state().count_dropped(rest);
                return;
            };
            rest = &rest[written.min(rest.len())..];
        }
    }
}

fn write_some(rest: &[u8], sink: &mut impl Write) -> io::Result<usize> {
    loop {
        match sink.write(&rest[..rest.len().min(PIECE)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(AGAIN),
            ended => return ended,
        }
    }
}

/// The number of bytes of the next write: the whole lines that fit into a piece, or one long line.
fn whole_lines(text: &[u8]) -> usize {
    let end = |line: &u8| *line == b'\n';
    let within = text[..text.len().min(PIECE)].iter().rposition(end);
    within
        .or_else(|| text.iter().position(end))
        .map_or(text.len(), |at| at + 1)
}

/// The number of lines, with an incomplete last one.
fn lines(text: &[u8]) -> u64 {
    let lines = text.split_inclusive(|byte| *byte == b'\n').count();
    u64::try_from(lines).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Takes each write only once the test lets it.
    struct Gate {
        open: Receiver<io::Result<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            match self.open.recv() {
                Ok(Ok(())) => {
                    self.written.lock().unwrap().extend_from_slice(text);
                    Ok(text.len())
                }
                Ok(Err(error)) => Err(error),
                Err(_) => loop {
                    thread::park();
                },
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Written = Arc<Mutex<Vec<u8>>>;

    fn gated() -> (Arc<Queue>, SyncSender<io::Result<()>>, Written) {
        let (queue, written) = (Arc::new(Queue::default()), Written::default());
        let (opener, open) = sync_channel(1_000);
        let mut gate = Gate {
            open,
            written: Arc::clone(&written),
        };
        let writer = Arc::clone(&queue);
        thread::spawn(move || writer.write_to(&mut gate));
        (queue, opener, written)
    }

    fn is_writing(queue: &Queue) -> bool {
        queue.state().writing.is_some()
    }

    #[test]
    fn stuck_reader_costs_lines_and_no_time() {
        let (queue, opener, written) = gated();
        let begun = Instant::now();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        for _ in 0..30_000 {
            queue.push(&line);
        }
        queue.flush(Duration::from_millis(10));
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        let (waiting, dropped) = {
            let state = queue.state();
            (state.waiting.len(), state.dropped)
        };
        assert!(waiting <= ROOM);
        let most = u64::try_from(30_000 - ROOM / line.len()).unwrap();
        assert!((1..=most).contains(&dropped), "{dropped} of at most {most}");
        for _ in 0..1_000 {
            let _ = opener.try_send(Ok(()));
        }
        queue.flush(Duration::from_secs(5));
        let written = written.lock().unwrap().len() / line.len();
        assert_eq!(
            written as u64 + dropped,
            30_000,
            "each line is written or counted"
        );
    }

    #[test]
    fn writer_is_stuck_after_30_seconds_in_one_write() {
        let (queue, opener, _) = gated();
        assert!(!queue.state().is_stuck(Instant::now() + STUCK));
        queue.push(b"one\n");
        while !is_writing(&queue) {
            thread::yield_now();
        }
        assert!(!queue.state().is_stuck(Instant::now()));
        assert!(queue.state().is_stuck(Instant::now() + STUCK));
        opener.send(Ok(())).unwrap();
        queue.flush(Duration::from_secs(5));
        assert!(!queue.state().is_stuck(Instant::now() + STUCK));
    }

    #[test]
    fn failed_write_is_counted_and_a_refused_one_is_tried_again() {
        let (queue, opener, written) = gated();
        opener.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        queue.push(b"one\ntwo\n");
        queue.flush(Duration::from_secs(5));
        assert_eq!(queue.state().dropped, 2);
        for error in [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted] {
            opener.send(Err(error.into())).unwrap();
        }
        opener.send(Ok(())).unwrap();
        queue.push(b"three\n");
        queue.flush(Duration::from_secs(5));
        assert_eq!(queue.state().dropped, 2);
        assert_eq!(*written.lock().unwrap(), b"three\n");
    }

    #[test]
    fn lines_stay_whole() {
        let long = b"x".repeat(PIECE);
        assert_eq!(whole_lines(b"one\ntwo\nthr"), 8);
        assert_eq!(whole_lines(&[&*long, b"x\none\n"].concat()), PIECE + 2);
        assert_eq!(whole_lines(b"one"), 3);
        assert_eq!((lines(b""), lines(b"one"), lines(b"one\ntwo\n")), (0, 1, 2));
    }
}
