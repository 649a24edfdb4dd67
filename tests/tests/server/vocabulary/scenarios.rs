//! The table of scenarios, each with the words that it provokes.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use portcullis_tests::server::TestServer;

use super::{outcomes, refusals};
use crate::backends::server_with_busy_backend;
use crate::revocation::server_that_withdrew_a_call;

/// Something that happens to a server, and the words that it writes about it.
pub struct Scenario {
    pub what: &'static str,
    pub words: &'static [&'static str],
    pub run: fn() -> LocalBoxFuture<'static, TestServer>,
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        what: "a call and a notification",
        words: &[
            "event=server_started",
            "event=policy_loaded",
            "event=auth_success",
            "event=tool_call_start",
            "event=tool_call_success",
            "reloads.outcome=loaded",
            "authentications.outcome=success",
            "tool_calls.outcome=success",
            "responses.status=200",
            "responses.status=202",
        ],
        run: || outcomes::served().boxed_local(),
    },
    Scenario {
        what: "callers that are not authenticated",
        words: &[
            "event=auth_failed",
            "auth_failed.reason=missing",
            "auth_failed.reason=unknown_key",
            "auth_failed.reason=ambiguous",
            "authentications.outcome=failed",
            "responses.status=401",
        ],
        run: || refusals::unauthenticated().boxed_local(),
    },
    Scenario {
        what: "clients without access",
        words: &[
            "event=client_refused",
            "client_refused.reason=not_recognised",
            "client_refused.reason=suspended",
            "client_refused.reason=expired",
            "authentications.outcome=refused",
            "responses.status=403",
        ],
        run: || refusals::clients_without_access().boxed_local(),
    },
    Scenario {
        what: "requests that are refused for their form",
        words: &[
            "event=request_refused",
            "responses.status=400",
            "responses.status=404",
            "responses.status=405",
            "responses.status=406",
            "responses.status=408",
            "responses.status=413",
            "responses.status=415",
            "responses.status=421",
        ],
        run: || refusals::malformed_requests().boxed_local(),
    },
    Scenario {
        what: "calls of tools that are denied, and with arguments that do not fit",
        words: &[
            "event=tool_access_denied",
            "tool_access_denied.reason=not_granted",
            "tool_access_denied.reason=write_not_allowed",
            "tool_access_denied.reason=condition_not_met",
            "tool_access_denied.reason=unknown",
            "event=arguments_refused",
            "arguments_refused.keyword=maxBytes",
            "arguments_refused.keyword=unsendable",
            "tool_calls.outcome=denied",
            "tool_calls.outcome=invalid",
        ],
        run: || refusals::refused_calls().boxed_local(),
    },
    Scenario {
        what: "calls over each limit",
        words: &[
            "event=rate_limit_exceeded",
            "rate_limit_exceeded.limit=tool",
            "rate_limit_exceeded.limit=client",
            "rate_limit_exceeded.limit=share",
            "rate_limit_exceeded.limit=global",
            "rate_limit_exceeded.limit=request_allowance",
            "tool_calls.outcome=limited",
            "responses.status=429",
        ],
        run: || refusals::calls_over_limits().boxed_local(),
    },
    Scenario {
        what: "too many calls in flight",
        words: &["rate_limit_exceeded.limit=in_flight"],
        run: || refusals::calls_in_flight().boxed_local(),
    },
    Scenario {
        what: "calls that fail at their backend",
        words: &[
            "event=tool_call_error",
            "tool_call_error.error=backend_status",
            "tool_call_error.error=backend_timeout",
            "tool_call_error.error=answer_malformed",
            "tool_call_error.error=answer_too_large",
            "tool_call_error.error=records_missing",
            "tool_call_error.error=answer_nonconforming",
            "tool_call_error.error=disconnected",
            "tool_calls.outcome=error",
        ],
        run: || outcomes::failed_calls().boxed_local(),
    },
    Scenario {
        what: "a backend that is down",
        words: &["tool_call_error.error=backend_unreachable", "tool_call_error.error=backend_suspended"],
        run: || outcomes::backend_down().boxed_local(),
    },
    Scenario {
        what: "a backend whose credential is in a Secret that is missing",
        words: &["tool_call_error.error=backend_credentials"],
        run: || outcomes::secret_missing().boxed_local(),
    },
    Scenario {
        what: "a backend with all the calls that it may have",
        words: &["tool_call_error.error=backend_busy"],
        run: || server_with_busy_backend().boxed_local(),
    },
    Scenario {
        what: "a call that waits for its backend when the access of its client ends",
        words: &["tool_call_error.error=access_ended"],
        run: || server_that_withdrew_a_call().boxed_local(),
    },
    Scenario {
        what: "a log that is blocked",
        words: &["tool_call_error.error=audit_blocked", "tool_calls.outcome=blocked", "responses.status=503"],
        run: || outcomes::blocked_log().boxed_local(),
    },
    Scenario {
        what: "a blocked log under a policy that drops records",
        words: &["event=records_dropped"],
        run: || outcomes::dropped_records().boxed_local(),
    },
    Scenario {
        what: "documents that are refused",
        words: &[
            "event=policy_refused",
            "policy_refused.document=policy",
            "policy_refused.document=credentials",
            "reloads.outcome=refused",
        ],
        run: || outcomes::refused_documents().boxed_local(),
    },
    Scenario {
        what: "a request, a response and an answer of which only a part was read",
        words: &["held_bytes.of=requests", "held_bytes.of=responses", "held_bytes.of=answers"],
        run: || outcomes::held_bytes().boxed_local(),
    },
    Scenario { what: "a stop", words: &["event=server_stopping"], run: || outcomes::stopped().boxed_local() },
];
