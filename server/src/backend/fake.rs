//! A kind of backend for tests: each call is what a closure returns.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use futures::{FutureExt, future::BoxFuture};
use portcullis_crds::{
    check::CheckedToolKind,
    contract::{self, BackendKind, HttpBackend, StaticTool, ToolKind},
};

use super::{
    common::{Backend, ToolWork},
    kind::{Exchange, Kind, Unsendable, Work},
};
use crate::{fingerprint::Fingerprint, protocol::strict::Node};

type Call = Arc<dyn Fn() -> Exchange + Send + Sync>;

/// A backend that does what the closure returns.
#[derive(Clone)]
pub struct Fake(Call);

/// The calls of a backend.
#[derive(Clone, Default)]
pub struct Calls(Arc<AtomicUsize>);

/// The spec of a backend at a URL.
pub fn spec(url: &str, critical: bool) -> contract::Backend {
    let http = HttpBackend { url: url.to_owned(), health_path: None };
    contract::Backend::plain("fake".parse().unwrap(), critical, BackendKind::Http(http))
}

/// The work of a tool of a backend `fake`.
pub fn tool_work(call: impl Fn() -> Exchange + Send + Sync + 'static) -> ToolWork {
    let backend = Backend::new(&spec("http://fake", false), None, |_| Box::new(Fake::new(call)));
    let tool = StaticTool { structured_content: None, text: None };
    backend.work(&ToolKind::Static(tool), &CheckedToolKind::Static(None)).unwrap()
}

/// As [`tool_work`], with the number of calls that are running.
pub fn counted(call: impl Fn() -> Exchange + Send + Sync + 'static) -> (Calls, ToolWork) {
    let calls = Calls::default();
    let counter = calls.clone();
    let work = tool_work(move || match call() {
        Exchange::Known(output) => Exchange::Known(output),
        Exchange::Pending(exchange, sent) => Exchange::Pending(counter.clone().count(exchange).boxed(), sent),
    });
    (calls, work)
}

impl Fake {
    pub fn new(call: impl Fn() -> Exchange + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }
}

impl Kind for Fake {
    fn work(&self, _: &ToolKind, _: &CheckedToolKind) -> Option<Box<dyn Work>> {
        Some(Box::new(self.clone()))
    }

    fn check(&self) -> Option<BoxFuture<'static, Option<bool>>> {
        Some(async { Some(true) }.boxed())
    }
}

impl Work for Fake {
    fn prepare(&self, _: &Node<'_>, _: Fingerprint) -> Result<Exchange, Unsendable> {
        Ok((self.0)())
    }
}

impl Calls {
    /// The calls that have begun and neither ended nor were dropped.
    pub fn running(&self) -> usize {
        self.0.load(SeqCst)
    }

    async fn count<T>(self, call: impl Future<Output = T>) -> T {
        struct Running(Calls);
        impl Drop for Running {
            fn drop(&mut self) {
                self.0.0.fetch_sub(1, SeqCst);
            }
        }
        self.0.fetch_add(1, SeqCst);
        let _running = Running(self);
        call.await
    }
}
