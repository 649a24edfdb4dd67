//! The log with a sink that a test can block.

mod blocked;
mod records;

use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use super::*;
use crate::audit::record::{AuthFailure, CallEnd, CallStart, Effect, Who};

/// A sink that can be blocked, and keeps what was written to it.
#[derive(Clone, Default)]
struct Sink(Arc<Pipe>);

#[derive(Default)]
struct Pipe {
    state: Mutex<(bool, Vec<u8>)>,
    changed: Condvar,
}

impl Sink {
    fn block(&self, is_blocked: bool) {
        self.0.state.lock().0 = is_blocked;
        self.0.changed.notify_all();
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.state.lock().1.clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        while state.0 {
            self.0.changed.wait(&mut state);
        }
        state.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const WHO: Who<'_> = Who { revision: "r1", client: "sales/bot", subject: None, key_id: Some("k1") };
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a write takes before the sink counts as blocked, in tests that wait for that.
const BLOCKED_AFTER: Duration = Duration::from_millis(100);

/// A log whose sink does not count as blocked because the machine is busy.
fn start(sink: &Sink, adjust: impl FnOnce(&mut Options)) -> Audit {
    let mut options = Options { blocked_after: PATIENCE, ..Options::new("pod-1") };
    adjust(&mut options);
    Audit::start(Box::new(sink.clone()), options).unwrap()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn call(tool: &str, effect: Effect) -> CallStart<'_> {
    CallStart { who: WHO, tool, effect, trace: None, arguments: None }
}

fn success() -> CallEnd<'static> {
    CallEnd::Success { records_returned: Some(3), bytes: 120, left_out: None }
}

fn assert_no_gap(lines: &[Value]) {
    let numbers: Vec<_> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}
