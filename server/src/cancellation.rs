//! Cancellation of a call by its caller.

use tokio::sync::watch;

/// Whether a call was cancelled. Clones share it.
#[derive(Clone, Debug)]
pub struct Cancellation(Option<watch::Receiver<bool>>);

/// Cancels the call that has the [`Cancellation`] of the same pair.
#[derive(Debug)]
pub struct Canceller(watch::Sender<bool>);

impl Cancellation {
    /// For a call that its caller cannot cancel.
    pub const fn never() -> Self {
        Self(None)
    }

    /// For a call that is cancelled by the other one of the pair.
    pub fn pair() -> (Canceller, Self) {
        let (sender, receiver) = watch::channel(false);
        (Canceller(sender), Self(Some(receiver)))
    }

    /// Waits until the call is cancelled.
    pub async fn cancelled(&self) {
        if let Some(mut receiver) = self.0.clone()
            && receiver.wait_for(|is_cancelled| *is_cancelled).await.is_ok()
        {
            return;
        }
        // Without a canceller, the call cannot be cancelled (any more).
        std::future::pending().await
    }
}

impl Canceller {
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_call_is_cancelled_by_its_canceller_alone() {
        let (canceller, cancellation) = Cancellation::pair();
        assert_eq!(cancellation.cancelled().now_or_never(), None);
        canceller.cancel();
        drop(canceller);
        cancellation.clone().cancelled().await;
        let (canceller, cancellation) = Cancellation::pair();
        drop(canceller);
        assert_eq!(cancellation.cancelled().now_or_never(), None);
        assert_eq!(Cancellation::never().cancelled().now_or_never(), None);
    }
}
