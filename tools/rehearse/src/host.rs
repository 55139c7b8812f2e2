//! The least of a Proxy-Wasm host: what the filter asks while it serves a request, answered as Envoy would.

use wasmi::{Caller, Error, Extern, Linker, Memory, TypedFunc};

use crate::rows::Sent;

const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
/// Of `proxy_get_buffer_bytes`.
const PLUGIN_CONFIGURATION: i32 = 7;
const REQUEST_BODY: i32 = 0;
const RESPONSE_BODY: i32 = 1;
const ANSWER_BODY: i32 = 4;
/// Of `proxy_get_header_map_value`.
const REQUEST_HEADERS: i32 = 0;

/// What a request has.
pub(crate) const HEADERS: [(&str, &str); 16] = [
    (":authority", "reviews:9080"),
    (":path", "/reviews/17?sort=newest"),
    (":method", "GET"),
    (":scheme", "http"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    ("accept", "application/json"),
    ("accept-language", "en-GB,en;q=0.7"),
    ("authorization", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfG"),
    ("cookie", "session=0123456789abcdef; theme=dark"),
    ("x-user-id", "42"),
    ("x-request-id", "5d0e1b6e-5a0c-4c39-9d7a-2d2d8a9c2b11"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-proto", "http"),
    ("x-tenant", "acme"),
    ("referer", "http://reviews:9080/"),
    ("x-b3-sampled", "0"),
];

/// What a request with a body has besides.
pub(crate) const OF_BODY: [(&str, &str); 1] = [("content-type", "application/json")];

/// What primary and mirror respond.
pub(crate) const RESPONSE: [(&str, &str); 4] = [
    (":status", "200"),
    ("content-type", "application/json"),
    ("server", "envoy"),
    ("x-envoy-upstream-service-time", "1"),
];

/// Makes JSON of about so many bytes: items, of which the ids are other ones at the mirror.
fn json(size: usize, first_id: usize) -> Vec<u8> {
    let item = |number: usize| {
        let id = first_id + number;
        format!(r#"{{"id":"{id:08}","name":"item {number}","price":{number}.50,"tags":["new","red"],"stock":true}}"#)
    };
    let count = size / (item(0).len() + 1);
    let items: Vec<_> = (0..count).map(item).collect();
    if size == 0 { Vec::new() } else { format!("[{}]", items.join(",")).into_bytes() }
}

/// What the host knows.
pub(crate) struct Host {
    pub(crate) configuration: Vec<u8>,
    /// The headers of the request, encoded.
    headers: Vec<u8>,
    pub(crate) body: Vec<u8>,
    /// The bodies of the primary's response and of the mirror's.
    pub(crate) responses: [Vec<u8>; 2],
    metrics: u32,
    /// Nanoseconds; each reading is a little later.
    clock: u64,
    /// The calls that are not answered yet.
    pub(crate) in_flight: Vec<u32>,
    token: u32,
    /// The one value of shared data; its version is always the same, for no other worker changes it.
    shared: Option<Vec<u8>>,
    pub(crate) calls: u64,
    pub(crate) copies: u64,
    pub(crate) bodies: u64,
}

impl Host {
    /// Makes one for requests of one kind, and responses of about so many bytes.
    pub(crate) fn new(configuration: Vec<u8>, sent: Sent, response: usize) -> Self {
        let (headers, body) = match sent {
            Sent::Get => (encoded(&HEADERS), Vec::new()),
            Sent::Post(size) => (encoded(&[&HEADERS[..], &OF_BODY].concat()), json(size, 0)),
        };
        Self {
            configuration,
            headers,
            body,
            responses: [json(response, 0), json(response, 1_000_000)],
            metrics: 0,
            clock: 0,
            in_flight: Vec::new(),
            token: 0,
            shared: None,
            calls: 0,
            copies: 0,
            bodies: 0,
        }
    }
}

/// What the filter calls. A call counts, whatever comes of it.
pub(crate) fn define(linker: &mut Linker<Host>) -> Result<(), Error> {
    linker.func_wrap("env", "proxy_define_metric", |mut vm: Caller<'_, Host>, _: i32, _: i32, _: i32, id: i32| {
        vm.data_mut().metrics += 1;
        let metric = vm.data().metrics;
        put(&mut vm, id, metric)
    })?;
    linker.func_wrap("env", "proxy_increment_metric", |mut vm: Caller<'_, Host>, _: i32, _: i64| counted(&mut vm))?;
    linker.func_wrap("env", "proxy_record_metric", |mut vm: Caller<'_, Host>, _: i32, _: i64| counted(&mut vm))?;
    linker.func_wrap("env", "proxy_log", |_: i32, _: i32, _: i32| OK)?;
    linker.func_wrap("env", "proxy_get_log_level", |mut vm: Caller<'_, Host>, level: i32| put(&mut vm, level, 3))?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut vm: Caller<'_, Host>, buffer: i32, _: i32, _: i32, data: i32, size: i32| {
            let bytes = match buffer {
                PLUGIN_CONFIGURATION => Some(vm.data().configuration.clone()),
                REQUEST_BODY => Some(vm.data().body.clone()),
                RESPONSE_BODY => Some(vm.data().responses[0].clone()),
                ANSWER_BODY => Some(vm.data().responses[1].clone()),
                _ => None,
            };
            give(&mut vm, bytes, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |mut vm: Caller<'_, Host>, map: i32, data: i32, size: i32| {
            let headers = if map == REQUEST_HEADERS { vm.data().headers.clone() } else { encoded(&RESPONSE) };
            give(&mut vm, Some(headers), data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |mut vm: Caller<'_, Host>, map: i32, name: i32, length: i32, data: i32, size: i32| {
            let wanted = read(&vm, name, length)?;
            let headers: &[(&str, &str)] = if map == REQUEST_HEADERS { &HEADERS } else { &RESPONSE };
            let value =
                headers.iter().find(|(name, _)| name.as_bytes() == wanted).map(|(_, value)| value.as_bytes().to_vec());
            give(&mut vm, value, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut vm: Caller<'_, Host>, path: i32, length: i32, data: i32, size: i32| {
            let wanted = read(&vm, path, length)?;
            let value = match &wanted[..] {
                b"response\0code" => Some(200_i64.to_le_bytes().to_vec()),
                b"xds\0cluster_name" => Some(b"outbound|9080||reviews.prod.svc.cluster.local".to_vec()),
                _ => None,
            };
            give(&mut vm, value, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |mut vm: Caller<'_, Host>, _: i32, _: i32, data: i32, size: i32, version: i32| {
            write(&mut vm, version, &1u32.to_le_bytes())?;
            let value = vm.data().shared.clone();
            give(&mut vm, value, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |mut vm: Caller<'_, Host>, _: i32, _: i32, value: i32, length: i32, _: i32| {
            let value = read(&vm, value, length)?;
            vm.data_mut().shared = Some(value);
            counted(&mut vm)
        },
    )?;
    #[allow(clippy::too_many_arguments, reason = "the ABI's")]
    fn call(
        mut vm: Caller<'_, Host>,
        _: i32,
        _: i32,
        _: i32,
        _: i32,
        _: i32,
        body: i32,
        _: i32,
        _: i32,
        _: i32,
        token: i32,
    ) -> Result<i32, Error> {
        let host = vm.data_mut();
        host.copies += 1;
        host.bodies += u64::from(body > 0);
        host.token += 1;
        let number = host.token;
        host.in_flight.push(number);
        put(&mut vm, token, number)
    }
    linker.func_wrap("env", "proxy_http_call", call)?;
    linker.func_wrap(
        "wasi_snapshot_preview1",
        "clock_time_get",
        |mut vm: Caller<'_, Host>, _: i32, _: i64, time: i32| {
            vm.data_mut().clock += 1_000_000;
            let now = vm.data().clock;
            write(&mut vm, time, &now.to_le_bytes())?;
            counted(&mut vm)
        },
    )?;
    linker.func_wrap(
        "wasi_snapshot_preview1",
        "environ_sizes_get",
        |mut vm: Caller<'_, Host>, count: i32, size: i32| {
            put(&mut vm, count, 0)?;
            put(&mut vm, size, 0)
        },
    )?;
    linker.func_wrap("wasi_snapshot_preview1", "environ_get", |_: i32, _: i32| OK)?;
    linker.func_wrap("wasi_snapshot_preview1", "random_get", |mut vm: Caller<'_, Host>, bytes: i32, length: i32| {
        // Any will do, as long as they are the same each time.
        write(&mut vm, bytes, &vec![42; length as usize])?;
        counted(&mut vm)
    })?;
    Ok(())
}

fn counted(vm: &mut Caller<'_, Host>) -> Result<i32, Error> {
    vm.data_mut().calls += 1;
    Ok(OK)
}

fn memory(vm: &Caller<'_, Host>) -> Result<Memory, Error> {
    vm.get_export("memory").and_then(Extern::into_memory).ok_or_else(|| Error::new("no memory"))
}

fn read(vm: &Caller<'_, Host>, place: i32, length: i32) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; length as usize];
    memory(vm)?.read(vm, place as usize, &mut bytes).map_err(|error| Error::new(error.to_string()))?;
    Ok(bytes)
}

fn write(vm: &mut Caller<'_, Host>, place: i32, bytes: &[u8]) -> Result<(), Error> {
    memory(vm)?.write(vm, place as usize, bytes).map_err(|error| Error::new(error.to_string()))
}

fn put(vm: &mut Caller<'_, Host>, place: i32, number: u32) -> Result<i32, Error> {
    write(vm, place, &number.to_le_bytes())?;
    counted(vm)
}

/// Hands a buffer over, in memory that the module allocates.
fn give(vm: &mut Caller<'_, Host>, bytes: Option<Vec<u8>>, data: i32, size: i32) -> Result<i32, Error> {
    counted(vm)?;
    let Some(bytes) = bytes else { return Ok(NOT_FOUND) };
    let allocate = vm.get_export("proxy_on_memory_allocate").and_then(Extern::into_func);
    let allocate: TypedFunc<u32, u32> = allocate.ok_or_else(|| Error::new("no allocator"))?.typed(&*vm)?;
    let place = allocate.call(&mut *vm, bytes.len() as u32)?;
    write(vm, place as i32, &bytes)?;
    write(vm, data, &place.to_le_bytes())?;
    write(vm, size, &(bytes.len() as u32).to_le_bytes())?;
    Ok(OK)
}

/// Headers in the ABI's encoding: their number, the lengths of all, then names and values, each with a zero behind it.
fn encoded(headers: &[(&str, &str)]) -> Vec<u8> {
    let lengths = headers.iter().flat_map(|(name, value)| [name.len() as u32, value.len() as u32]);
    let numbers = std::iter::once(headers.len() as u32).chain(lengths);
    let texts = headers.iter().flat_map(|(name, value)| [*name, "\0", *value, "\0"]);
    numbers.flat_map(u32::to_le_bytes).chain(texts.flat_map(str::bytes)).collect()
}
