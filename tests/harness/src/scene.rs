//! An example at work: its Envoys, on ports of their own, and what its services log.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::client::Client;
use crate::eventually;
use crate::ledger::{Account, Ledger, accounts};
use crate::process::{Envoy, Folder};
use crate::readme::read;

/// A port that an example's files name → one that is free. The sockets are bound and never listen: they keep the ports
/// from everybody who does not share them, as Envoy and gunicorn do.
#[derive(Default)]
pub struct Ports(BTreeMap<u16, (SocketAddr, Option<TcpSocket>)>);

impl Ports {
    pub fn address(&mut self, port: u16) -> SocketAddr {
        let free = || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseport(true).unwrap();
            socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            (socket.local_addr().unwrap(), Some(socket))
        };
        self.0.entry(port).or_insert_with(free).0
    }

    /// Replaces every port in a configuration.
    fn replace(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    if name == "port_value" {
                        let port = u16::try_from(field.as_u64().unwrap()).unwrap();
                        *field = json!(self.address(port).port());
                    } else {
                        self.replace(field);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace(item)),
            _ => {}
        }
    }
}

/// A line of a service's log: `NAME METHOD PATH authority=HOST x-mirrored-request=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub service: String,
    pub path: String,
    pub authority: String,
    pub is_copy: bool,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let [service, _, path, authority, marker] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        Some(Self {
            service: service.to_owned(),
            path: path.to_owned(),
            authority: authority.strip_prefix("authority=")?.to_owned(),
            is_copy: marker.strip_prefix("x-mirrored-request=")? == "true",
        })
    }
}

/// Reads the lines of services in a log where Envoy's own stand too.
pub fn lines(log: &str) -> Vec<Line> {
    log.lines().filter_map(Line::parse).collect()
}

/// An Envoy with a file of an example.
pub struct Scene {
    pub envoy: Envoy,
    /// What stands in the file.
    config: Value,
    accounts: Vec<Account>,
}

impl Scene {
    /// Starts it; what the file says of ports is replaced.
    pub async fn start(example: &str, file: &str, ports: &mut Ports) -> Self {
        Self::of(yaml(&read(example, file)).remove(0), ports).await
    }

    /// The same of a configuration that is none of the files, as it stands.
    pub async fn of(config: Value, ports: &mut Ports) -> Self {
        let mut own = config.clone();
        own["admin"]["address"]["socket_address"]["port_value"] = json!(0);
        let admin = own["admin"].take();
        ports.replace(&mut own);
        own["admin"] = admin;
        let envoy = Envoy::start(Folder::new(), &own, 2).await;
        let envoy = envoy.unwrap_or_else(|refused| panic!("{}\n{}", refused.status, refused.log));
        let accounts = plugins(&config).iter().flat_map(accounts).collect();
        Self { envoy, config, accounts }
    }

    /// A connection to the listener on this port of the file.
    pub async fn client(&self, port: u16, ports: &mut Ports) -> Client {
        Client::h1(ports.address(port)).await
    }

    /// What a service of the file answers.
    pub fn answer_of(&self, service: &str) -> Option<&str> {
        let listeners = self.config["static_resources"]["listeners"].as_array().unwrap();
        let listener = listeners.iter().find(|listener| listener["name"] == service)?;
        listener
            .pointer("/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes")?
            .as_array()?
            .last()?
            .pointer("/direct_response/body/inline_string")?
            .as_str()
    }

    pub async fn ledger(&self) -> Ledger {
        Ledger::parse(&self.envoy.admin("/stats?filter=wasmcustom").await)
    }

    /// Waits until no copy is under way and the books balance.
    pub async fn settle(&self) -> Ledger {
        let mut last = Ledger::default();
        eventually("balanced books", async || {
            last = self.ledger().await;
            last.unsettled(&self.accounts).map_or(Ok(()), |why| Err(format!("{why}\n{last:#?}")))
        })
        .await;
        last
    }

    /// How many requests this Envoy has sent to services, copies among them.
    pub async fn sent(&self) -> usize {
        let stats = self.envoy.admin("/stats?filter=upstream_rq_total").await;
        let clusters = self.config["static_resources"]["clusters"].as_array().unwrap();
        let services = clusters.iter().filter(|cluster| !self.is_hop(cluster));
        let count = |cluster: &Value| {
            let name = format!("cluster.{}.upstream_rq_total: ", cluster["name"].as_str().unwrap());
            stats.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse::<usize>().ok()).unwrap()
        };
        services.map(count).sum()
    }

    /// Whether a cluster leads to a further proxy in the same file, which hands requests on and logs nothing.
    fn is_hop(&self, cluster: &Value) -> bool {
        let port = cluster
            .pointer("/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/port_value")
            .unwrap();
        let mut listeners = self.config["static_resources"]["listeners"].as_array().unwrap().iter();
        let target = listeners.find(|listener| listener.pointer("/address/socket_address/port_value") == Some(port));
        target.is_some_and(|listener| listener.pointer("/filter_chains/0/filters/0/typed_config/access_log").is_none())
    }
}

/// Reads all YAML documents of a text.
pub fn yaml(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// The plugin configurations in a document of Envoy's or of Istio's, wherever they stand in it.
pub fn plugins(value: &Value) -> Vec<Value> {
    let own = value.pointer("/spec/pluginConfig").or_else(|| {
        let is_wasm = value["@type"].as_str().is_some_and(|name| name.ends_with("filters.http.wasm.v3.Wasm"));
        value.pointer("/config/configuration/value").filter(|_| is_wasm)
    });
    let inner: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => vec![],
    };
    own.into_iter().cloned().chain(inner.into_iter().flat_map(plugins)).collect()
}
