//! Methods for unit tests.

use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::json;

use super::{Answer, Begun, Group, Mcp, queue};
use crate::{
    guard::{Caller, Guard},
    protocol::{refusal::Refusal, request::Request},
};

/// The methods, and `test/count`, which sends three notifications before its result if the caller accepts a stream.
pub fn mcp(guard: Guard) -> Mcp {
    const GROUPS: [Group; 3] = [Mcp::GROUPS[0], Mcp::GROUPS[1], count];
    Mcp::with_groups(guard, &GROUPS)
}

fn count<'s>(_: &Guard, _: Caller<'s>, request: &mut Request<'_>, id: &str) -> Option<Result<Begun<'s>, Refusal>> {
    if request.message.method != "test/count" {
        return None;
    }
    let response = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"count":3}}}}"#));
    if !request.carrier.accepts_stream() {
        return Some(Ok(Begun::Answer(Answer::Result { response: vec![response], session: None, delivery: None })));
    }
    let messages = stream::once(async {
        let (sender, messages) = queue();
        tokio::spawn(async move {
            for n in 1..=3 {
                let params = json!({"progressToken": "t", "progress": n});
                let message = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
                sender.send(message.to_string().into()).await.unwrap();
            }
            sender.send(response).await.unwrap();
        });
        messages
    });
    let messages = messages.flatten().boxed();
    Some(Ok(Begun::Answer(Answer::Stream { id: id.to_owned(), messages })))
}
