//! The SDK's contexts: a root for each configuration, and one for each HTTP stream. No policy: they pass on what the
//! host says, and always let the request go on.

use crate::config::Config;
use crate::host;
use crate::stream::Pending;
use crate::worker::Worker;
use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::rc::Rc;

/// Registers the contexts with the SDK.
pub fn start() {
    // Also installs the hook that puts a panic's message into Envoy's log.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(Root { id, worker: None }));
}

/// A configuration on one worker.
struct Root {
    id: u32,
    worker: Option<Rc<Worker>>,
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, _body_size: usize, _trailers: usize) {
        if let Some(worker) = &self.worker {
            worker.answered(token, headers);
        }
    }

    fn on_done(&mut self) -> bool {
        self.worker.as_ref().is_none_or(|worker| worker.leave())
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        log::set_max_level(host::log_level());
        let config = match Config::from_bytes(&host::configuration()) {
            Ok(config) => config,
            Err(violations) => {
                for violation in violations {
                    error!("{violation}");
                }
                return false;
            }
        };
        match Worker::new(self.id, config) {
            Ok(worker) => self.worker = Some(Rc::new(worker)),
            Err(reason) => error!("{reason}"),
        }
        self.worker.is_some()
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { worker: self.worker.clone(), pending: None }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// One HTTP stream.
struct Stream {
    worker: Option<Rc<Worker>>,
    pending: Option<Pending>,
}

impl Stream {
    /// Settles the request if nothing more of it is needed.
    fn settle(&mut self, has_ended: bool) {
        if let Some(worker) = &self.worker
            && let Some(pending) = self.pending.take_if(|pending| has_ended || !pending.wants_end())
        {
            worker.settle(pending);
        }
    }
}

impl Context for Stream {
    fn on_done(&mut self) -> bool {
        // What is still waiting here never ended.
        if let Some(worker) = &self.worker
            && let Some(pending) = self.pending.take()
        {
            worker.abort(pending);
        }
        true
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        if let Some(worker) = &self.worker {
            self.pending = worker.begin(end_of_stream);
        }
        self.settle(end_of_stream);
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if let Some(worker) = &self.worker
            && let Some(pending) = &mut self.pending
        {
            worker.chunk(pending, size);
            self.settle(end_of_stream);
        }
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        self.settle(true);
        Action::Continue
    }
}
