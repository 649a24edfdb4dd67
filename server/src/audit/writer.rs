//! The writer thread: it gathers lines for a moment, and writes them in pieces that a pipe takes whole.

use std::{
    io::{ErrorKind, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::MutexGuard;

use super::queue::{Queue, Waiting};
use crate::supervise::{self, FAILURES};

/// Bytes of one write: few enough that a sink which makes any progress takes them within a second.
const PIECE: usize = 32 * 1024;
/// Bytes that are gathered at most, and the largest buffer that is kept for the next batch.
const USUAL_BATCH: usize = 1024 * 1024;
/// The pause between two attempts if the sink fails.
const PAUSE: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

/// Writes until the log is stopped. A panic loses nothing: the writer goes on where it was, unless it panics again and again without
/// writing anything.
pub(super) fn run(queue: &Arc<Queue>, sink: Box<dyn Write + Send>) {
    let mut writer = Writer { sink, batch: Vec::new(), written: 0, of_batch: None, progress: 0 };
    let mut failures = 0;
    loop {
        let progress = writer.progress;
        if catch_unwind(AssertUnwindSafe(|| writer.run(queue))).is_ok() {
            return;
        }
        failures = if writer.progress > progress { 1 } else { failures + 1 };
        if failures >= FAILURES {
            return queue.fail();
        }
        thread::sleep(supervise::PAUSE * failures);
    }
}

/// What is being written.
struct Writer {
    sink: Box<dyn Write + Send>,
    batch: Vec<u8>,
    /// How many bytes of the batch are written.
    written: usize,
    /// The number of the last record of the batch, and whether it is the last of all; `None` if there is no batch.
    of_batch: Option<(u64, bool)>,
    /// How many bytes were written so far.
    progress: u64,
}

impl Writer {
    fn run(&mut self, queue: &Arc<Queue>) {
        loop {
            let (last, is_last) = match self.of_batch {
                Some(of_batch) => of_batch,
                None => self.take(queue),
            };
            self.write(queue);
            self.of_batch = None;
            self.batch.clear();
            if self.batch.capacity() > USUAL_BATCH {
                self.batch = Vec::new();
            }
            queue.written.send_replace(last);

            let waiting = &mut *queue.lock();
            queue.report_dropped(waiting);
            if is_last && waiting.lines.is_empty() {
                waiting.stopped = true;
                queue.wake.notify_all();
                return;
            }
        }
    }

    /// Takes the lines that wait.
    fn take(&mut self, queue: &Arc<Queue>) -> (u64, bool) {
        let mut waiting = queue.lock();
        wait_for_lines(queue, &mut waiting);
        gather(queue, &mut waiting);
        queue.write_tally(&mut waiting);
        let of_batch = (waiting.seq, waiting.stopping);
        std::mem::swap(&mut waiting.lines, &mut self.batch);
        (self.written, self.of_batch) = (0, Some(of_batch));
        (waiting.unauthenticated, waiting.logs, waiting.urgent) = (0, 0, false);
        of_batch
    }

    /// Writes the rest of the batch, however long that takes: an admitted record is not lost. The queue sees when it takes too long.
    fn write(&mut self, queue: &Queue) {
        while self.written < self.batch.len() {
            let end = self.batch.len().min(self.written + PIECE);
            queue.begin_write();
            while self.written < end {
                match self.sink.write(&self.batch[self.written..end]) {
                    Ok(written) if written > 0 => {
                        queue.give_room(written);
                        self.written += written;
                        self.progress += written as u64;
                        queue.begin_write();
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // A sink that fails may recover: the reader of its pipe restarts, or its disk is freed.
                    Ok(_) | Err(_) => thread::sleep(PAUSE),
                }
            }
        }
        while !self.batch.is_empty() && self.sink.flush().is_err() {
            thread::sleep(PAUSE);
        }
        queue.end_write();
    }
}

fn wait_for_lines(queue: &Queue, waiting: &mut MutexGuard<'_, Waiting>) {
    while waiting.lines.is_empty() && !waiting.stopping && !(waiting.tally.is_due() && waiting.tally.is_holding()) {
        waiting.asleep = true;
        if waiting.tally.is_holding() {
            queue.wake.wait_for(waiting, SECOND);
        } else {
            queue.wake.wait(waiting);
        }
        waiting.asleep = false;
    }
}

fn gather(queue: &Queue, waiting: &mut MutexGuard<'_, Waiting>) {
    let until = Instant::now() + queue.options.batch;
    while !waiting.urgent && !waiting.stopping && waiting.lines.len() < USUAL_BATCH {
        if queue.wake.wait_until(waiting, until).timed_out() {
            return;
        }
    }
}
