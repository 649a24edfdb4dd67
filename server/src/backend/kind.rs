//! What differs between the kinds of backends.

use futures::future::BoxFuture;
use portcullis_crds::{check::CheckedToolKind, contract::ToolKind};

use super::{failure::Failure, output::Output, sent::Sent};
use crate::{fingerprint::Fingerprint, protocol::strict::Node};

/// A backend of some kind.
pub trait Kind: Send + Sync {
    /// Compiles the work of a tool, when the policy is loaded; `None` if the tool is of another kind, which the policy's check
    /// rules out.
    fn work(&self, tool: &ToolKind, checked: &CheckedToolKind) -> Option<Box<dyn Work>>;

    /// A check of its health: whether calls can be made; `None` of it if that could not be found out. It is not begun before it is
    /// polled. `None` if nothing can fail.
    fn check(&self) -> Option<BoxFuture<'static, Option<bool>>>;

    /// Whether it lacks something without which calls fail, or will fail one day, although the backend is well.
    fn is_impaired(&self) -> bool {
        false
    }
}

/// The work of a tool.
pub trait Work: Send + Sync {
    /// Puts the arguments of a call in their places. The result borrows nothing of them. What is received for the call counts for
    /// `identity`.
    ///
    /// # Errors
    /// Returns an error if an argument cannot be sent as data.
    fn prepare(&self, arguments: &Node<'_>, identity: Fingerprint) -> Result<Exchange, Unsendable>;
}

/// What is left to do for a call.
pub enum Exchange {
    /// Nothing: the tool contains its output.
    Known(Output),
    /// A request to the backend, and whether it was sent. Nothing is sent before it is polled, or once it was withdrawn. It is dropped
    /// if the call is cancelled, if it takes too long, or if the caller disconnects: a kind that has to tell its peer does so then.
    Pending(BoxFuture<'static, Result<Output, Failure>>, Sent),
}

/// Arguments that cannot be sent as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsendable {
    /// The name of the argument, from the policy.
    pub argument: String,
    pub why: &'static str,
}
