//! Whose call it is: what a backend is told about a call beside its request.

use portcullis_crds::ClientId;

use crate::protocol::trace::TraceContext;

/// The client and the trace of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub client: ClientId,
    pub trace: TraceContext,
}
