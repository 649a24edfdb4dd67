//! The bytes of answers: room for them before they are made, until their peers have read them.

use std::{sync::Arc, time::Duration};

use portcullis_crds::contract::Effect;
use tokio::sync::Semaphore;

use super::records::{self, Bounded, MaxRecords};
use crate::{
    backend::{Failure, Output},
    config::Tool,
    fingerprint::Fingerprint,
    net::{AnswerBounds, Budget, OverBudget, PIECE, Share},
    protocol::result::ToolResult,
};

/// How long a call waits for room: before it is made, and for its answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Outputs whose results may be above this size are checked and written one at a time, beside the threads that serve.
const LARGE: usize = 64 * 1024;

/// The room for answers. Clones share it.
#[derive(Clone)]
pub struct Answers {
    pub budget: Budget,
    large: Arc<Semaphore>,
}

impl Default for Answers {
    fn default() -> Self {
        Self { budget: AnswerBounds::default().budget(), large: Arc::new(Semaphore::new(1)) }
    }
}

impl Answers {
    /// Waits while the peers of an identity leave too much unread: nothing was done yet, so the call can still be refused.
    ///
    /// # Errors
    /// Returns an error if that takes too long.
    pub(super) async fn admits_call(&self, identity: Fingerprint) -> Result<(), OverBudget> {
        self.budget.until_uncrowded(identity, WITHIN).await
    }

    /// The result of an output with at most `max` records, and its share of the budget if it is not small: small ones are bounded
    /// by the number of calls in flight. The call has had its effect, so if there is no room in time, its content is left out.
    ///
    /// # Errors
    /// As [`records::bound`].
    pub(super) async fn bound(
        &self,
        identity: Fingerprint,
        tool: &Tool,
        output: Output,
        max: MaxRecords,
    ) -> Result<(Bounded, Option<Share>), Failure> {
        let most = output.largest_result();
        if most <= PIECE {
            return Ok((records::bound(&output, tool.records.as_ref(), max)?, None));
        }
        let mut share = self.budget.share(identity);
        let bounded = if most <= LARGE || output.is_shared() {
            let bounded = records::bound(&output, tool.records.as_ref(), max)?;
            if share.grow_within(bounded.members.len() + PIECE, WITHIN).await.is_err() {
                return Ok((left_out(tool.effect), None));
            }
            bounded
        } else {
            let declared = tool.records.clone();
            let (output, measured) = self
                .beside(move || {
                    let measured = records::measure(&output, declared.as_ref(), max);
                    (output, measured)
                })
                .await?;
            let measured = measured?;
            if share.grow_within(measured.bytes + PIECE, WITHIN).await.is_err() {
                return Ok((left_out(tool.effect), None));
            }
            // The share and the output are given back by the thread that uses them, even if the caller is gone.
            let (kept, bounded) = self.beside(move || (share, measured.write(&output))).await?;
            share = kept;
            bounded
        };
        share.settle(bounded.members.len() + PIECE);
        Ok((bounded, Some(share)))
    }

    /// Does work on a large output, one at a time.
    async fn beside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let permit = self.large.clone().acquire_owned().await;
        let working = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        working.await.map_err(|_| Failure::Malformed)
    }
}

/// The result of a call whose answer cannot be held.
fn left_out(effect: Effect) -> Bounded {
    let text = match effect {
        Effect::Write => "The call succeeded. Its content is left out: too much of earlier answers is still unread.",
        Effect::Read => "The content is left out: too much of earlier answers is still unread. Try again.",
    };
    let members = ToolResult::of_text(text, effect == Effect::Read).members().into();
    Bounded { members, records: None, truncated: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_whose_content_is_left_out_is_not_told_as_an_error() {
        for (effect, is_error) in [(Effect::Write, "false"), (Effect::Read, "true")] {
            let members = left_out(effect).members;
            let text = std::str::from_utf8(&members).unwrap();
            assert!(text.ends_with(&format!("\"isError\":{is_error}")), "{text}");
        }
    }
}
