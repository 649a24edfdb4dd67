//! One call, from its name and arguments to its outcome: first all that needs what was sent, at once, then all that may wait.

use std::{borrow::Cow, time::Instant};

use portcullis_crds::contract::Effect;

use super::{
    Caller, Guard, Outcome, Reply,
    arguments::{self, Refused},
    authorise::{Denied, authorise},
    limits, records,
};
use crate::{
    audit::{
        arguments::ArgumentShape,
        record::{CallEnd, CallStart, Record},
    },
    backend::{Failure, HttpBackend, Rendered, render_text},
    config::{StaticAnswer, Tool, Work},
    metrics::CallOutcome,
    protocol::{
        refusal::Refusal,
        result::ToolResult,
        strict::{self, Node},
    },
};

/// What a tool answered, within the client's maximum.
struct Answer {
    reply: Reply,
    records: u64,
}

/// A call that is its caller's to make and fits the tool. It borrows nothing of the request: what was sent, and the tree that it
/// was read into, need not be kept while the call waits.
pub struct Prepared<'a> {
    began: Instant,
    tool: &'a Tool,
    arguments: Option<ArgumentShape>,
    job: Job<'a>,
}

/// What is left to do once nothing more can be refused.
enum Job<'a> {
    Http(&'a HttpBackend, Rendered),
    /// With its text, where arguments are in it.
    Static(&'a StaticAnswer, Option<String>),
}

impl Guard {
    /// The first half of the chain: may the client call the tool, and do the arguments fit?
    ///
    /// # Errors
    /// Where one of the two is not so; it was recorded.
    pub fn prepare<'a>(
        &self,
        caller: Caller<'a>,
        name: &str,
        arguments: Option<Node<'_>>,
    ) -> Result<Prepared<'a>, Refusal> {
        let began = Instant::now();
        let Caller { snapshot, identity } = caller;
        let client = identity.client;
        let tool = authorise(snapshot.tools.by_name.get(name), identity)
            .map_err(|denied| self.denied(caller, name, denied, began))?;
        let refused = |refused| self.invalid(caller, tool, refused, began);
        let sent = arguments::bounded(arguments).map_err(refused)?;
        let shape = snapshot.records_arguments.then(|| tool.declared.shape_of(&sent, &snapshot.digest_key));
        let mut limit = String::new();
        let arguments = arguments::limited(sent, tool, client, &mut limit);
        arguments::valid(&arguments, tool).map_err(refused)?;
        let job = job(tool, &arguments).map_err(refused)?;
        Ok(Prepared { began, tool, arguments: shape, job })
    }

    /// The second half. Nothing is refused after the backend was asked, and whoever drops this future after the start was
    /// recorded leaves an end that says so.
    pub async fn call(&self, caller: Caller<'_>, prepared: Prepared<'_>) -> Outcome {
        let Prepared { began, tool, arguments, job } = prepared;
        let Caller { snapshot, identity } = caller;
        let count = |outcome| tool.metrics.call(outcome, began.elapsed());

        let limited = |refusal: &Refusal| {
            count(match refusal {
                Refusal::LimitsUnavailable => CallOutcome::Unavailable,
                _ => CallOutcome::Limited,
            });
        };
        let _in_flight = self.enter(caller, tool).inspect_err(limited)?;
        let blocked = |_| {
            count(CallOutcome::Blocked);
            Refusal::AuditUnavailable
        };
        let mut room = self.audit.reserve(snapshot.overflow).map_err(blocked)?;
        let dimensions = limits::of_call(identity, tool, snapshot.replicas);
        let receipt = self.admit(caller, tool, &dimensions).await.inspect_err(limited)?;
        room.start(&CallStart {
            who: caller.who(),
            tool: tool.name.as_str(),
            effect: tool.effect,
            arguments: arguments.as_ref(),
        });
        if tool.effect == Effect::Write
            && let Err(error) = room.written().await
        {
            // Nothing was done, so nothing is used up.
            snapshot.limit_store.take_back(receipt).await;
            return Err(blocked(error));
        }

        match self.run(job, tool, identity.client.max_records).await {
            Ok(Answer { reply, records }) => {
                count(CallOutcome::Success);
                room.end(&CallEnd::Success { records_returned: Some(records), bytes: reply.members.len() as u64 });
                Ok(reply)
            }
            Err(failure) => {
                count(CallOutcome::Error);
                room.end(&CallEnd::Error(failure.record(tool.backend.as_str())));
                let text = failure.message(tool.backend.as_str());
                let result = ToolResult { text: &text, note: None, structured: None, is_error: true };
                Ok(Reply { members: result.members().into(), truncated: false })
            }
        }
    }

    fn denied(&self, caller: Caller<'_>, name: &str, denied: Denied<'_>, began: Instant) -> Refusal {
        if let Some(tool) = denied.tool {
            tool.metrics.call(CallOutcome::Denied, began.elapsed());
        }
        if let Err(over) = self.take_allowance(caller) {
            return over;
        }
        let tool = denied.tool.map(|tool| tool.name.as_str());
        let record = Record::ToolAccessDenied { who: caller.who(), tool, denial: denied.denial, enforced: true };
        self.record_refusal(caller, &record, Refusal::ToolDenied { name: name.to_owned() })
    }

    fn invalid(&self, caller: Caller<'_>, tool: &Tool, refused: Refused, began: Instant) -> Refusal {
        tool.metrics.call(CallOutcome::Invalid, began.elapsed());
        if let Err(over) = self.take_allowance(caller) {
            return over;
        }
        let record = Record::ArgumentsRefused {
            who: caller.who(),
            tool: tool.name.as_str(),
            keyword: refused.keyword,
            path: &refused.path,
        };
        self.record_refusal(caller, &record, Refusal::InvalidParams(Cow::Owned(refused.message)))
    }

    async fn run(&self, job: Job<'_>, tool: &Tool, max_records: u32) -> Result<Answer, Failure> {
        match job {
            Job::Static(answer, text) => fixed(answer, text.as_deref(), tool, max_records),
            Job::Http(backend, request) => {
                let body = backend.ask(&self.http, request, tool.timeout).await?;
                let body: &[u8] = if body.is_empty() { b"null" } else { &body };
                let answer = parsed(body)?;
                bounded(&answer, None, tool, max_records)
            }
        }
    }
}

fn job<'a>(tool: &'a Tool, arguments: &Node<'_>) -> Result<Job<'a>, Refused> {
    Ok(match &tool.work {
        Work::Http { backend, request } => Job::Http(backend, request.render(arguments)?),
        Work::Static(answer) => {
            // Members are there where no argument changes the text.
            let text = answer.text.as_ref().filter(|_| answer.members.is_none());
            Job::Static(answer, text.map(|text| render_text(text, arguments)))
        }
    })
}

fn parsed(answer: &[u8]) -> Result<Node<'_>, Failure> {
    strict::parse_answer(answer).map_err(|refusal| match refusal {
        strict::JsonError::TooManyValues => Failure::TooLarge,
        _ => Failure::Malformed,
    })
}

/// The answer of a tool that carries it.
fn fixed(answer: &StaticAnswer, text: Option<&str>, tool: &Tool, max: u32) -> Result<Answer, Failure> {
    let records = answer.records.ok_or(Failure::RecordsMissing)?;
    if let Some(members) = answer.members.as_ref().filter(|_| records <= u64::from(max)) {
        return Ok(Answer { reply: Reply { members: members.clone(), truncated: false }, records });
    }
    match &answer.structured {
        Some(structured) => bounded(&parsed(structured.as_bytes())?, text, tool, max),
        None => {
            let result = ToolResult { text: text.unwrap_or_default(), note: None, structured: None, is_error: false };
            Ok(Answer { reply: Reply { members: result.members().into(), truncated: false }, records })
        }
    }
}

/// A result of an answer. A text of the tool's own stands only beside all of the records.
fn bounded(answer: &Node<'_>, text: Option<&str>, tool: &Tool, max: u32) -> Result<Answer, Failure> {
    let bounded = records::bound(answer, tool.records.as_ref(), max)?;
    let note = bounded.truncated.then(|| records::note(bounded.records));
    let result = ToolResult {
        text: text.filter(|_| !bounded.truncated).unwrap_or(&bounded.json),
        note: note.as_deref(),
        structured: Some(&bounded.json),
        is_error: false,
    };
    let reply = Reply { members: result.members().into(), truncated: bounded.truncated };
    Ok(Answer { reply, records: bounded.records })
}
