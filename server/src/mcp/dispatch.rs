//! From a message to its answer, in two halves.
//!
//! The first half needs the request and returns at once; nothing that it returns borrows from the request, so that the bytes
//! of a request, and the tree that they were parsed into, are not kept while a call waits. The second half may wait.

use super::{
    answer::{Answer, Begun, Pending},
    cancelled, lifecycle, session, tools,
};
use crate::{
    cancellation::WaitingCalls,
    guard::{Caller, Guard},
    protocol::{
        era::Era,
        refusal::Refusal,
        request::{Carrier, Request},
    },
};

/// A group of methods: answers a request, or returns `None` if its method belongs to another group. Notifications do not get
/// here. A refusal that it returns was counted and recorded.
pub type Group = for<'s> fn(&Guard, Caller<'s>, &mut Request<'_>, &str) -> Option<Result<Begun<'s>, Refusal>>;

/// The methods, and the guard in front of them.
pub struct Mcp {
    pub guard: Guard,
    pub(super) waiting: WaitingCalls,
    groups: &'static [Group],
}

impl Mcp {
    /// All groups of methods.
    pub(crate) const GROUPS: [Group; 2] = [lifecycle::begin, tools::begin];

    pub fn new(guard: Guard) -> Self {
        Self { guard, waiting: WaitingCalls::default(), groups: &Self::GROUPS }
    }

    /// With groups of methods for tests.
    #[cfg(test)]
    pub fn with_groups(guard: Guard, groups: &'static [Group]) -> Self {
        Self { guard, waiting: WaitingCalls::default(), groups }
    }

    /// The first half: reads a message and answers it, unless the answer has to be waited for.
    pub fn begin<'s>(&self, caller: Caller<'s>, body: &[u8], carrier: &dyn Carrier) -> Begun<'s> {
        let agreed = session::version(caller, carrier.session());
        let mut request = match Request::read(body, carrier, agreed) {
            Ok(request) => request,
            Err(unreadable) => {
                return Begun::Answer(self.refusal(caller, unreadable.refusal, unreadable.id));
            }
        };
        let in_session =
            request.era == Era::Handshake && request.message.method != "initialize" && !carrier.session().is_missing();
        if in_session && agreed.is_none() {
            return Begun::Answer(self.refusal(caller, Refusal::SessionNotFound, request.message.id));
        }
        let Some(id) = request.message.id else {
            // Most notifications need nothing from this server, but they are not free.
            return Begun::Answer(match self.guard.take_allowance(caller) {
                Ok(()) => {
                    cancelled::notified(&self.waiting, caller, &request);
                    Answer::Accepted
                }
                Err(over) => Answer::refusal(over, None),
            });
        };
        match self.groups.iter().find_map(|begin| begin(&self.guard, caller, &mut request, id)) {
            Some(Ok(begun)) => begun,
            Some(Err(refusal)) => Begun::Answer(Answer::refusal(refusal, Some(id))),
            None => Begun::Answer(self.refusal(caller, Refusal::UnknownMethod { in_session }, Some(id))),
        }
    }

    /// The second half: waits for the answer, unless the caller cancels the request.
    pub fn finish<'a>(&'a self, caller: Caller<'a>, pending: Pending<'a>) -> impl Future<Output = Answer> + Send + 'a {
        match pending {
            Pending::ToolCall(call) => tools::finish(&self.guard, &self.waiting, caller, call),
        }
    }

    /// Refuses the request with this id. The refusal is counted against the allowance of the caller, and recorded.
    pub fn refusal(&self, caller: Caller<'_>, refusal: Refusal, id: Option<&str>) -> Answer {
        Answer::refusal(self.guard.refuse(caller, refusal), id)
    }
}
