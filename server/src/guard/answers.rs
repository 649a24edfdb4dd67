//! The bytes of answers: room for them before they are made, until their peers have read them.

use std::{sync::Arc, time::Duration};

use portcullis_crds::contract::Effect;
use tokio::sync::Semaphore;

use super::records::{self, Bounded};
use crate::{
    backend::{Failure, Output},
    config::Tool,
    fingerprint::Fingerprint,
    net::{AnswerBounds, Budget, OverBudget, PIECE, Share},
    protocol::result::ToolResult,
};

/// How long a call waits for room: before it is made, and for its answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Outputs above this size are read one at a time, beside the threads that serve: as a tree they take many times their size.
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
        max: u32,
    ) -> Result<(Bounded, Option<Share>), Failure> {
        let most = output.largest_result();
        if most <= PIECE {
            return Ok((records::bound(&output, tool.records.as_ref(), max)?, None));
        }
        let mut share = self.budget.share(identity);
        if share.grow_within(most, WITHIN).await.is_err() {
            return Ok((left_out(tool.effect), None));
        }
        let bounded = if most <= LARGE || output.is_shared() {
            records::bound(&output, tool.records.as_ref(), max)?
        } else {
            let permit = self.large.clone().acquire_owned().await;
            let declared = tool.records.clone();
            let bounding = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                let bounded = records::bound(&output, declared.as_ref(), max);
                // The share stays until the output is gone, even if the caller is.
                drop(output);
                (bounded, share)
            });
            let (bounded, kept) = bounding.await.map_err(|_| Failure::Malformed)?;
            share = kept;
            bounded?
        };
        share.settle(bounded.members.len() + PIECE);
        Ok((bounded, Some(share)))
    }
}

/// The result of a call whose answer cannot be held.
fn left_out(effect: Effect) -> Bounded {
    let text = match effect {
        Effect::Write => "The call succeeded. Its content is left out: too much of earlier answers is still unread.",
        Effect::Read => "The content is left out: too much of earlier answers is still unread. Try again.",
    };
    let result = ToolResult { text, note: None, structured: None, is_error: effect == Effect::Read };
    Bounded { members: result.members().into(), records: None, truncated: false }
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
