//! The bytes of answers: room for them before they are made, until their peers have read them.

use std::{sync::Arc, time::Duration};

use portcullis_crds::contract::Effect;
use tokio::sync::Semaphore;

use super::{
    checks::Checks,
    conformity,
    records::{self, Bounded, MaxRecords},
};
use crate::{
    backend::{Failure, Output},
    config::{Tool, unstructured},
    fingerprint::Fingerprint,
    net::{AnswerBounds, Budget, OverBudget, PIECE, Share},
    protocol::{excerpt::Excerpt, result::ToolResult},
};

/// How long a call waits for room: before it is made, and for its answer.
pub(super) const WITHIN: Duration = Duration::from_secs(5);
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
    /// As [`records::bound`], and if the tool reads and its result does not conform to the schema that it declares.
    pub(super) async fn bound(
        &self,
        checks: &Checks,
        identity: Fingerprint,
        tool: &Tool,
        output: Output,
        max: MaxRecords,
    ) -> Result<(Bounded, Option<Share>), Failure> {
        if tool.output.is_none() && output.largest_result() <= PIECE {
            return Ok((records::bound(&output, tool.records.as_ref(), max)?, None));
        }
        // In memory of its own, which most calls do not need.
        Box::pin(self.bound_within_budget(checks, identity, tool, output, max)).await
    }

    async fn bound_within_budget(
        &self,
        checks: &Checks,
        identity: Fingerprint,
        tool: &Tool,
        output: Output,
        max: MaxRecords,
    ) -> Result<(Bounded, Option<Share>), Failure> {
        // That all of a constant output conforms was checked with the policy.
        if let Some(bounded) = records::constant(&output, tool.records.as_ref(), max)? {
            return Ok(self.taken(identity, tool, bounded).await);
        }
        let is_large = output.largest_result() > LARGE && (tool.output.is_some() || !output.is_shared());
        let (output, measured) = match &tool.output {
            Some(declared) => {
                conformity::measured((tool, declared), (output, max, is_large), (checks, identity)).await?
            }
            None if !is_large => {
                let bounded = records::bound(&output, tool.records.as_ref(), max)?;
                return Ok(self.taken(identity, tool, bounded).await);
            }
            None => {
                let list = tool.records.clone();
                let measure = move || records::measure(&output, list.as_ref(), max).map(|measured| (output, measured));
                self.beside(measure).await??
            }
        };
        if !is_large && measured.bytes <= PIECE {
            return Ok((measured.write(&output), None));
        }
        let Some(share) = self.share(identity, measured.bytes).await else { return Ok((left_out(tool), None)) };
        // The share and the output are given back by the thread that uses them, even if the caller is gone.
        let (mut share, bounded) = self.beside(move || (share, measured.write(&output))).await?;
        share.settle(bounded.members.len() + PIECE);
        Ok((bounded, Some(share)))
    }

    /// A result with its share of the budget if it is not small.
    async fn taken(&self, identity: Fingerprint, tool: &Tool, bounded: Bounded) -> (Bounded, Option<Share>) {
        if bounded.members.len() <= PIECE {
            return (bounded, None);
        }
        let Some(mut share) = self.share(identity, bounded.members.len()).await else { return (left_out(tool), None) };
        share.settle(bounded.members.len() + PIECE);
        (bounded, Some(share))
    }

    /// The share of a result with so many bytes; `None` if there is no room for it in time.
    async fn share(&self, identity: Fingerprint, bytes: usize) -> Option<Share> {
        let mut share = self.budget.share(identity);
        share.grow_within(bytes + PIECE, WITHIN).await.ok()?;
        Some(share)
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
fn left_out(tool: &Tool) -> Bounded {
    let members = match tool.effect {
        Effect::Write => without_content("too much of earlier answers is still unread.", tool),
        Effect::Read => {
            let text = "The content is left out: too much of earlier answers is still unread. Try again.";
            ToolResult::of_text(text, true).members()
        }
    };
    Bounded { members: members.into(), records: None, truncated: false, is_unstructured: false }
}

/// The result of a call that wrote and whose content is left out. It is never said to have failed, because a model would repeat it.
pub(super) fn without_content(why: &str, tool: &Tool) -> String {
    let text = format!("The call succeeded. Its content is left out: {why}");
    let structured = tool.output.as_ref().map(|_| unstructured(&text));
    ToolResult { structured: structured.as_deref().map(Excerpt::whole), ..ToolResult::of_text(&text, false) }.members()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::guard::fixtures::tool;

    #[test]
    fn a_write_whose_content_is_left_out_is_not_told_as_an_error() {
        for (more, end) in [
            (json!({"effect": "Write"}), "\"}],\"isError\":false"),
            (json!({"effect": "Write", "outputSchema": {"type": "object"}}), " is still unread.\"},\"isError\":false"),
            (json!({"effect": "Read", "outputSchema": {"type": "object"}}), "\"}],\"isError\":true"),
        ] {
            let members = left_out(&tool(&more)).members;
            let text = std::str::from_utf8(&members).unwrap();
            assert!(text.ends_with(end), "{text}");
        }
    }
}
