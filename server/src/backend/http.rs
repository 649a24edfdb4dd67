//! The kind `http`: a REST service, called over pooled connections.
//!
//! No redirect is followed and no proxy is used, so that a request goes where the policy says or nowhere. A response is bounded
//! in size.

mod body;
mod client;
mod coding;
mod health;
mod media;
mod request;
mod response;

pub use client::{HttpClient, HttpClients};
pub use request::RequestTemplate;

use futures::{FutureExt, future::BoxFuture};
use portcullis_crds::{
    BackendName,
    check::{CheckedToolKind, HttpTarget},
    contract::ToolKind,
};

use super::{
    credentials::Outgoing,
    kind::{Exchange, Kind, Unsendable, Work},
    sent::Sent,
};
use crate::{fingerprint::Fingerprint, protocol::strict::Node};

/// A REST service.
pub struct Http {
    name: BackendName,
    target: HttpTarget,
    client: HttpClient,
    outgoing: Outgoing,
}

/// The request of a tool.
struct HttpWork {
    backend: BackendName,
    request: RequestTemplate,
    client: HttpClient,
    outgoing: Outgoing,
}

impl Http {
    pub fn new(name: &BackendName, target: HttpTarget, client: HttpClient, outgoing: Outgoing) -> Self {
        Self { name: name.clone(), target, client, outgoing }
    }
}

impl Kind for Http {
    fn work(&self, tool: &ToolKind, checked: &CheckedToolKind) -> Option<Box<dyn Work>> {
        let (ToolKind::Http(tool), CheckedToolKind::Http(templates)) = (tool, checked) else { return None };
        let request = RequestTemplate::new(&self.target.base, tool.method, templates);
        let (backend, client, outgoing) = (self.name.clone(), self.client.clone(), self.outgoing.clone());
        Some(Box::new(HttpWork { backend, request, client, outgoing }))
    }

    fn check(&self) -> Option<BoxFuture<'static, Option<bool>>> {
        Some(health::check(self.client.clone(), self.target.clone()).boxed())
    }

    fn is_impaired(&self) -> bool {
        self.outgoing.is_impaired()
    }
}

impl Work for HttpWork {
    fn prepare(&self, arguments: &Node<'_>, identity: Fingerprint) -> Result<Exchange, Unsendable> {
        let request = self.request.render(arguments)?;
        let (client, backend, sent) = (self.client.clone(), self.backend.clone(), Sent::default());
        let (by_call, outgoing) = (sent.clone(), self.outgoing.clone());
        let call = async move { client.call(backend.as_str(), (request, &outgoing), by_call, identity).await };
        Ok(Exchange::Pending(call.boxed(), sent))
    }
}
