//! The module at work: started with a configuration, it serves requests from their headers to their end.

use wasmi::{Error, Func, Linker, Memory, Store, TypedFunc};

use crate::Counts;
use crate::host::{HEADERS, Host, OF_BODY, RESPONSE, define};
use crate::instrument::{COUNTER, COUNTERS, Instrumented};
use crate::rows::{Row, Sent};

/// The bytes of a page of memory.
const PAGE: usize = 1 << 16;

/// The filter's root context; the streams follow.
const ROOT: u32 = 1;

/// What the host calls for a stream, with a size and whether that is the end.
type Callback = TypedFunc<(u32, u32, u32), u32>;

/// What the host calls with the answer to a copy: the root, the call, and how many headers, bytes and trailers there are.
type OnAnswer = TypedFunc<(u32, u32, u32, u32, u32), ()>;

pub(crate) struct Vm {
    store: Store<Host>,
    headers: TypedFunc<(u32, u32, u32), u32>,
    // What the modules of bench/floor do not all have.
    create: Option<TypedFunc<(u32, u32), ()>>,
    body: Option<Callback>,
    answer: Option<OnAnswer>,
    done: Option<TypedFunc<u32, u32>>,
    /// What a module has that looks at responses: for their headers and for their bodies.
    response: Option<[Callback; 2]>,
    sent: Sent,
    stream: u32,
    counters: Memory,
    /// How many counters there are.
    pieces: usize,
}

impl Vm {
    /// Starts it for requests of one kind; `None`: it does not take the configuration.
    pub(crate) fn start(module: &Instrumented, row: &Row) -> Result<Option<Self>, Error> {
        let pieces = module.pieces.len();
        let module = &module.module;
        let configuration = row.configuration.to_string().into_bytes();
        let configuration_size = configuration.len() as u32;
        let mut store = Store::new(module.engine(), Host::new(configuration, row.sent, row.response));
        let mut linker = Linker::new(module.engine());
        define(&mut linker)?;
        // What it names and never calls. What is there already is refused, and stays.
        for import in module.imports() {
            let ty = import.ty().func().ok_or_else(|| Error::new("an import that is no function"))?.clone();
            let name = format!("{}.{}", import.module(), import.name());
            let func = Func::new(&mut store, ty, move |_, _, _| Err(Error::new(format!("{name} was called"))));
            let _ = linker.define(import.module(), import.name(), func);
        }
        let instance = linker.instantiate_and_start(&mut store, module)?;
        let counters = instance.get_memory(&store, COUNTERS).ok_or_else(|| Error::new("no memory for the counters"))?;
        counters.grow(&mut store, (pieces * COUNTER).div_ceil(PAGE) as u64)?;
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&store, "_initialize") {
            initialize.call(&mut store, ())?;
        }
        let of_response = |what: &str| instance.get_typed_func(&store, &format!("proxy_on_response_{what}")).ok();
        let mut vm = Self {
            response: of_response("headers").zip(of_response("body")).map(|(headers, body)| [headers, body]),
            headers: instance.get_typed_func(&store, "proxy_on_request_headers")?,
            create: instance.get_typed_func(&store, "proxy_on_context_create").ok(),
            body: instance.get_typed_func(&store, "proxy_on_request_body").ok(),
            answer: instance.get_typed_func(&store, "proxy_on_http_call_response").ok(),
            done: instance.get_typed_func(&store, "proxy_on_done").ok(),
            sent: row.sent,
            stream: ROOT,
            counters,
            pieces,
            store,
        };
        if let Some(create) = &vm.create {
            create.call(&mut vm.store, (ROOT, 0))?;
        }
        let is_taken = match instance.get_typed_func::<(u32, u32), u32>(&vm.store, "proxy_on_configure") {
            Ok(configure) => configure.call(&mut vm.store, (ROOT, configuration_size))? != 0,
            Err(_) => true,
        };
        Ok(is_taken.then_some(vm))
    }

    /// Serves a request from its headers to its end, and then the answers to its copies.
    pub(crate) fn request(&mut self) -> Result<(), Error> {
        self.stream += 1;
        if let Some(create) = &self.create {
            create.call(&mut self.store, (self.stream, ROOT))?;
        }
        let (count, ends) = match self.sent {
            Sent::Get => (HEADERS.len(), 1),
            Sent::Post(_) => (HEADERS.len() + OF_BODY.len(), 0),
        };
        self.headers.call(&mut self.store, (self.stream, count as u32, ends))?;
        if let (Sent::Post(_), Some(on_body)) = (self.sent, &self.body) {
            let size = self.store.data().body.len() as u32;
            on_body.call(&mut self.store, (self.stream, size, 1))?;
        }
        let [primary, mirror] = [0, 1].map(|side| self.store.data().responses[side].len() as u32);
        if let Some([headers, body]) = &self.response {
            headers.call(&mut self.store, (self.stream, RESPONSE.len() as u32, u32::from(primary == 0)))?;
            if primary > 0 {
                body.call(&mut self.store, (self.stream, primary, 1))?;
            }
        }
        if let Some(done) = &self.done {
            done.call(&mut self.store, self.stream)?;
        }
        for token in std::mem::take(&mut self.store.data_mut().in_flight) {
            if let Some(answer) = &self.answer {
                answer.call(&mut self.store, (ROOT, token, 1, mirror, 0))?;
            }
        }
        Ok(())
    }

    /// Returns what has been spent since the start.
    pub(crate) fn counts(&self) -> Counts {
        let (counters, _) = self.counters.data(&self.store).as_chunks::<COUNTER>();
        let times = counters.iter().take(self.pieces).map(|counter| u64::from_le_bytes(*counter)).collect();
        let host = self.store.data();
        Counts { times, calls: host.calls, copies: host.copies, bodies: host.bodies }
    }
}
