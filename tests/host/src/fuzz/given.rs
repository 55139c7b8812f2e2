//! A request that is given beforehand, for whoever asks.

use traffic_mirror::core::header_map::HeaderMap;
use traffic_mirror::core::request::Source;

/// The names of a route and of the cluster that it leads to.
pub type Route = (Option<&'static str>, Option<&'static str>);

/// What the host would say of a request.
#[derive(Debug)]
pub struct Given {
    pub headers: HeaderMap,
    pub address: Option<&'static str>,
    pub route: Option<&'static str>,
    pub cluster: Option<&'static str>,
}

impl Given {
    pub fn new(headers: HeaderMap, address: Option<&'static str>, (route, cluster): Route) -> Self {
        Self { headers, address, route, cluster }
    }
}

impl Source for Given {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.first(name.as_bytes()).is_some()
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        self.address.map(Into::into)
    }

    fn route_name(&self) -> Option<Vec<u8>> {
        self.route.map(Into::into)
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        self.cluster.map(Into::into)
    }
}
