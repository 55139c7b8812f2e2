//! The SDK's contexts: a root for each configuration, and one for each HTTP stream. No policy: they pass on what the
//! host says, and always let the request go on.

use crate::config::Config;
use crate::host;
use crate::stream::Pending;
use crate::worker::Worker;
use log::error;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

thread_local! {
    /// The configurations at work in this VM, by the contexts of their roots.
    static WORKERS: RefCell<BTreeMap<u32, Rc<Worker>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Registers the contexts with the SDK, and who takes in answers with the host.
pub fn start() {
    // Also installs the hook that puts a panic's message into Envoy's log.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(Root { id, worker: None }));
    host::on_answer(|root, token, headers| {
        // The answer may be the last that keeps the worker: it is not borrowed while it is served.
        let worker = WORKERS.with_borrow(|workers| workers.get(&root).cloned());
        if let Some(worker) = worker {
            worker.answered(token, headers);
        }
    });
}

/// A configuration on one worker.
struct Root {
    id: u32,
    worker: Option<Rc<Worker>>,
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = WORKERS.try_with(|workers| workers.borrow_mut().remove(&self.id));
    }
}

impl Context for Root {
    fn on_done(&mut self) -> bool {
        self.worker.as_ref().is_none_or(|worker| worker.leave())
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        log::set_max_level(host::log_level());
        if !host::is_finished() {
            // Answers would go to the SDK, which does not know these calls and would panic.
            error!("the module is not finished: use the one that `make build` leaves in dist/");
            return false;
        }
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
            Ok(worker) => {
                let worker = Rc::new(worker);
                WORKERS.with_borrow_mut(|workers| workers.insert(self.id, Rc::clone(&worker)));
                self.worker = Some(worker);
            }
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
