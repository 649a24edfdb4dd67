//! Tasks that run for as long as the operator does. One that panics, or ends although it should not, is logged with its name, counted,
//! and started again after a growing pause; so no part of the operator is missing without being noticed.
//!
//! Each task also says when it will be heard of next: [`Supervisor::stuck`] names those that were not, and [`Supervisor::unready`]
//! those that cannot do their work now.

use std::{
    any::Any,
    borrow::Cow,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::Instant;
use tracing::error;

use crate::{
    backoff::Backoff,
    metrics::{Metrics, Task},
    sync::lock,
};

/// The first pause before a task is started again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// After a task has run this long, what happened before no longer counts.
const LONG_RUN: Duration = Duration::from_secs(60);
/// A task that was able to do its work may be unable to for this long before it counts: connections are made anew now and then.
const GRACE: Duration = Duration::from_secs(10);
/// A task that is given up ([`is_given_up`]) is after so many short runs in a row.
const SHORT_RUNS: u32 = 8;

/// A task, and what it works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskName {
    pub task: Task,
    /// Empty if there is one such task only.
    pub of: String,
}

/// Whether the process ends if the task fails again and again. What these work on is in the memory of this process, so that another
/// one may do better. What watches is told by others what to work on: another process would fail alike, and do nothing else.
fn is_given_up(task: Task) -> bool {
    matches!(task, Task::Driver | Task::SecretPoller | Task::Lease)
}

/// A task failed again and again.
#[derive(Debug, thiserror::Error)]
#[error("{task} failed {SHORT_RUNS} times in a row: {why}")]
pub struct GaveUp {
    pub task: TaskName,
    pub why: String,
}

/// Starts tasks again, and knows those that report their progress.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    metrics: Metrics,
    tasks: Arc<Mutex<Vec<Progress>>>,
}

/// What one task reports about itself. Clones share it.
#[derive(Clone, Debug)]
pub struct Progress(Arc<(TaskName, Mutex<State>)>);

#[derive(Debug)]
struct State {
    /// When the task is stuck if nothing was heard of it; `None` while it waits for what may never happen.
    heard_by: Option<Instant>,
    /// Since when it cannot do its work, and why. Anybody may read that, so that it is in words of this program only.
    unready: Option<(Instant, Cow<'static, str>)>,
    /// What people should know although it does its work.
    note: Option<&'static str>,
    was_ready: bool,
}

impl TaskName {
    pub fn new(task: Task, of: impl Into<String>) -> Self {
        Self { task, of: of.into() }
    }
}

impl From<Task> for TaskName {
    fn from(task: Task) -> Self {
        Self::new(task, "")
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of.as_str() {
            "" => write!(f, "{}", self.task),
            of => write!(f, "{} {of}", self.task),
        }
    }
}

impl Supervisor {
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, tasks: Arc::default() }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The progress of a task that runs for as long as the operator does.
    pub fn progress(&self, task: impl Into<TaskName>) -> Progress {
        let state = State { heard_by: None, unready: None, note: None, was_ready: false };
        let progress = Progress(Arc::new((task.into(), Mutex::new(state))));
        lock(&self.tasks).push(progress.clone());
        progress
    }

    /// Runs what `start` returns until it ends without a panic; `start` is called again after each panic. For what ends by itself.
    pub async fn run<F: Future>(&self, name: impl Into<TaskName>, mut start: impl FnMut() -> F) -> F::Output {
        let name = name.into();
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let began = Instant::now();
            match caught(async { start().await }).await {
                Ok(output) => return output,
                Err(why) => self.pause(&name, &why, began, &mut backoff).await,
            }
        }
    }

    /// Runs what `start` returns, which is never to end; `start` is called again after each end, with whether it was called before.
    ///
    /// # Errors
    /// Returns an error, and nothing else, if it ended too often in a row.
    pub async fn keep<F: Future<Output = ()>>(
        &self,
        name: impl Into<TaskName>,
        mut start: impl FnMut(bool) -> F,
    ) -> GaveUp {
        let name = name.into();
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let (mut is_again, mut short_runs) = (false, 0);
        loop {
            let began = Instant::now();
            let why = match caught(async { start(is_again).await }).await {
                Ok(()) => "it ended".to_owned(),
                Err(why) => why,
            };
            short_runs = if began.elapsed() < LONG_RUN { short_runs + 1 } else { 1 };
            if short_runs >= SHORT_RUNS && is_given_up(name.task) {
                return GaveUp { task: name, why };
            }
            self.pause(&name, &why, began, &mut backoff).await;
            is_again = true;
        }
    }

    async fn pause(&self, name: &TaskName, why: &str, began: Instant, backoff: &mut Backoff) {
        if began.elapsed() >= LONG_RUN {
            backoff.reset();
        }
        let pause = backoff.next_pause();
        lock(&self.tasks).iter().filter(|progress| progress.0.0 == *name).for_each(Progress::failed);
        self.metrics.restarted(name.task);
        error!(task = %name, error = why, retryIn = ?pause, "a task failed; it is started again");
        tokio::time::sleep(pause).await;
    }

    /// The tasks of which nothing was heard in time.
    pub fn stuck(&self) -> Vec<String> {
        let now = Instant::now();
        let stuck = |progress: &Progress| {
            let (name, state) = &*progress.0;
            let since = now.checked_duration_since(lock(state).heard_by?)?;
            Some(format!("{name}: nothing was heard of it for {} s longer than it may take", since.as_secs()))
        };
        lock(&self.tasks).iter().filter_map(stuck).collect()
    }

    /// The tasks that cannot do their work, or could not do it for a while.
    pub fn unready(&self) -> Vec<String> {
        let unready = |progress: &Progress| {
            let (name, state) = &*progress.0;
            let state = lock(state);
            let (since, why) = state.unready.as_ref()?;
            let counts = !state.was_ready || since.elapsed() >= GRACE;
            counts.then(|| format!("{name}: {why}, for {} s", since.elapsed().as_secs()))
        };
        lock(&self.tasks).iter().filter_map(unready).collect()
    }

    /// What people should know about tasks that do their work.
    pub fn notes(&self) -> Vec<String> {
        let note = |progress: &Progress| lock(&progress.0.1).note.map(|note| format!("{}: {note}", progress.0.0));
        lock(&self.tasks).iter().filter_map(note).collect()
    }
}

impl Progress {
    /// The task goes on, and is heard of again within this time unless it is stuck.
    pub fn within(&self, time: Duration) {
        lock(&self.0.1).heard_by = Some(Instant::now() + time);
    }

    /// The task waits for what may never happen.
    pub fn waits(&self) {
        lock(&self.0.1).heard_by = None;
    }

    /// The task can do its work.
    pub fn is_ready(&self) {
        let mut state = lock(&self.0.1);
        state.unready = None;
        state.was_ready = true;
    }

    /// The task does its work, and people should know this about it.
    pub fn notes(&self, note: Option<&'static str>) {
        lock(&self.0.1).note = note;
    }

    /// The task failed. Whoever said that it was ready will say so again.
    fn failed(&self) {
        self.waits();
        let was_ready = lock(&self.0.1).was_ready;
        if was_ready {
            self.is_unready("it failed by a mistake of the operator");
        }
    }

    /// The task cannot do its work now.
    pub fn is_unready(&self, why: &'static str) {
        let mut state = lock(&self.0.1);
        let since = state.unready.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        state.unready = Some((since, why.into()));
    }

    /// The task found that something is missing, which counts at once. Anybody may read `what`.
    pub fn is_lacking(&self, what: String) {
        let mut state = lock(&self.0.1);
        let since = state.unready.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        state.unready = Some((since, what.into()));
        state.was_ready = false;
    }
}

/// The output of a future, or what it panicked with.
pub async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| message(&*panic))
}

/// What a call returns, or what it panicked with.
pub fn caught_call<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(AssertUnwindSafe(call)).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a message"))
}

/// Panics that tests ask for.
#[cfg(test)]
pub mod faults {
    use std::{collections::HashMap, sync::Mutex};

    use crate::sync::lock;

    static PLANNED: Mutex<Option<HashMap<String, usize>>> = Mutex::new(None);

    /// Lets the next calls of [`point`] with this name panic, so many of them.
    pub fn plan(name: &str, times: usize) {
        lock(&PLANNED).get_or_insert_default().insert(name.to_owned(), times);
    }

    /// Panics if a test asked for it.
    pub fn point(name: &str) {
        let mut planned = lock(&PLANNED);
        if let Some(times) = planned.as_mut().and_then(|all| all.get_mut(name)).filter(|times| **times > 0) {
            *times -= 1;
            drop(planned);
            panic!("planned by a test");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicU32, Ordering::SeqCst},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_or_ends_is_started_again_and_counted() {
        let (supervisor, starts) = (Supervisor::default(), AtomicU32::new(0));
        let task = supervisor.keep(Task::Watch, |is_again| {
            let start = starts.fetch_add(1, SeqCst);
            assert_eq!(is_again, start > 0);
            async move {
                match start {
                    0 => panic!("first"),
                    1 => {}
                    _ => pending().await,
                }
            }
        });
        assert!(tokio::time::timeout(Duration::from_secs(600), task).await.is_err(), "it goes on");
        assert_eq!((starts.load(SeqCst), supervisor.metrics().restarts(Task::Watch)), (3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_as_it_starts_is_given_up_after_a_few_times_and_one_that_runs_long_is_not() {
        let supervisor = Supervisor::default();
        let gave_up = supervisor.keep(Task::Driver, |_| async { panic!("no luck") }).await;
        assert_eq!(gave_up.to_string(), "driver failed 8 times in a row: it panicked: no luck");
        let long = supervisor.keep(Task::Driver, |_| async { tokio::time::sleep(LONG_RUN).await });
        assert!(tokio::time::timeout(LONG_RUN * 100, long).await.is_err());
        let watch = TaskName::new(Task::Watch, "pods");
        let progress = supervisor.progress(watch.clone());
        progress.is_ready();
        let watch = supervisor.keep(watch, |_| async { panic!("no luck") });
        assert!(tokio::time::timeout(LONG_RUN * 100, watch).await.is_err(), "it says that it is not ready");
        assert_eq!(supervisor.unready(), ["watch pods: it failed by a mistake of the operator, for 6000 s"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_by_itself_is_started_again_after_a_panic_only() {
        let (supervisor, starts) = (Supervisor::default(), AtomicU32::new(0));
        let output = supervisor.run(Task::Follower, || {
            let start = starts.fetch_add(1, SeqCst);
            async move { if start < 20 { panic!("again") } else { start } }
        });
        assert_eq!(output.await, 20, "however often");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_stuck_if_nothing_is_heard_of_it_in_time_and_unready_once_it_says_so_for_long() {
        let supervisor = Supervisor::default();
        let progress = supervisor.progress(TaskName::new(Task::Watch, "pods"));
        let second = Duration::from_secs(1);
        progress.within(second * 5);
        progress.is_unready("not listed yet");
        assert_eq!(
            (supervisor.stuck(), supervisor.unready().join("\n")),
            (vec![], "watch pods: not listed yet, for 0 s".into())
        );
        tokio::time::advance(second * 7).await;
        assert_eq!(supervisor.stuck(), ["watch pods: nothing was heard of it for 2 s longer than it may take"]);
        progress.waits();
        progress.is_ready();
        assert_eq!((supervisor.stuck(), supervisor.unready()), (vec![], vec![]));
        progress.is_unready("broken");
        tokio::time::advance(second * 7).await;
        progress.is_unready("refused");
        assert_eq!(supervisor.unready(), [] as [&str; 0], "it may be made anew");
        tokio::time::advance(second * 4).await;
        assert_eq!(supervisor.unready(), ["watch pods: refused, for 11 s"]);
    }
}
