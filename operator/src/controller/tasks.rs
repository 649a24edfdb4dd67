//! The tasks without which the operator cannot do its work.

use tokio::task::JoinSet;

use crate::supervise::{GaveUp, Supervisor, TaskName};

/// All of them end with this value.
#[derive(Default)]
pub struct Tasks(JoinSet<GaveUp>);

impl Tasks {
    /// Keeps what `start` returns running: see [`Supervisor::keep`].
    pub fn keep<F>(
        &mut self,
        supervisor: &Supervisor,
        name: impl Into<TaskName>,
        start: impl FnMut(bool) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (supervisor, name) = (supervisor.clone(), name.into());
        self.0.spawn(async move { supervisor.keep(name, start).await });
    }

    /// Waits for the first one that is given up, and returns why.
    pub async fn gave_up(&mut self) -> String {
        match self.0.join_next().await {
            Some(Ok(gave_up)) => gave_up.to_string(),
            Some(Err(error)) => error.to_string(),
            None => "there is nothing to do".to_owned(),
        }
    }
}
