//! Each istio.yaml, read as Istio does: its routes and labels lead the requests of the README's table to the workloads that
//! the table names.

use regex::Regex;
use serde_json::Value;

use crate::documents::{destinations, full_name, plugin, text};
use harness::readme::{Row, outcome, read};
use harness::scene::yaml;

/// The examples whose services are workloads of one mesh.
const ONE_MESH: [&str; 5] = ["bookinfo", "nginx-versions", "failing-requests", "calcbackend", "httpbin-gateway-api"];

#[test]
fn the_routes_lead_each_request_to_the_workload_that_the_table_names() {
    for example in ONE_MESH {
        let mesh = yaml(&read(example, "istio.yaml"));
        for row in outcome(example) {
            let host = row.authority.split([':', '.']).next().unwrap();
            let (service, subset) = route(&mesh, host, &row);
            assert_eq!(workloads(&mesh, &service, &subset), [row.answered_by.as_str()], "{example}: {row:?}");
        }
    }
}

#[test]
fn the_mirrors_are_the_workloads_that_the_table_names() {
    for example in ONE_MESH {
        let mesh = yaml(&read(example, "istio.yaml"));
        let destinations = destinations(&plugin(example, "istio.yaml"));
        let [destination] = &destinations[..] else { panic!("{example}: {destinations:?}") };
        let host = text(destination, "/host");
        let service =
            mesh.iter().find(|own| own["kind"] == "Service" && full_name(own, text(own, "/metadata/name")) == host);
        let service = text(service.unwrap(), "/metadata/name");
        let found = workloads(&mesh, service, text(destination, "/subset"));
        for (at, _) in outcome(example).into_iter().flat_map(|row| row.copies) {
            assert_eq!(found, [at.as_str()], "{example}");
        }
    }
}

#[test]
fn the_plugin_is_in_the_proxy_that_the_example_speaks_of() {
    for (example, workload, mode) in [
        ("bookinfo", "productpage-v1", "CLIENT"),
        ("nginx-versions", "nginx-v1", "SERVER"),
        ("failing-requests", "orders-v1", "SERVER"),
        ("calcbackend", "calcfrontend-v1", "CLIENT"),
        ("httpbin-gateway-api", "curl", "CLIENT"),
    ] {
        let mesh = yaml(&read(example, "istio.yaml"));
        let plugin = mesh.iter().find(|document| document["kind"] == "WasmPlugin").unwrap();
        assert_eq!(labelled(&mesh, &[&plugin["spec"]["selector"]["matchLabels"]]), [workload], "{example}");
        assert_eq!(text(plugin, "/spec/match/0/mode"), mode, "{example}");
    }
}

/// The service and the subset to which a request goes that calls this service.
fn route(mesh: &[Value], host: &str, row: &Row) -> (String, String) {
    let first = |routes: &Value| routes.as_array().unwrap()[0].clone();
    for document in mesh {
        match text(document, "/kind") {
            "VirtualService" if document["spec"]["hosts"] == serde_json::json!([host]) => {
                let mut routes = document["spec"]["http"].as_array().unwrap().iter();
                let destination =
                    first(&routes.find(|route| holds(route, row)).unwrap()["route"])["destination"].take();
                return (text(&destination, "/host").to_owned(), text(&destination, "/subset").to_owned());
            }
            "HTTPRoute" if text(document, "/spec/parentRefs/0/name") == host => {
                let backend = first(&first(&document["spec"]["rules"])["backendRefs"]);
                return (text(&backend, "/name").to_owned(), String::new());
            }
            _ => {}
        }
    }
    (host.to_owned(), String::new())
}

/// Whether a route of a VirtualService takes the request.
fn holds(route: &Value, row: &Row) -> bool {
    let Some(matches) = route["match"].as_array() else { return true };
    matches.iter().any(|entry| {
        let headers = entry["headers"].as_object().unwrap();
        headers.iter().all(|(name, wanted)| {
            let own = row.header.as_ref().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
            own.is_some_and(|own| match (wanted["exact"].as_str(), wanted["regex"].as_str()) {
                (Some(exact), None) => own == exact,
                (None, Some(regex)) => Regex::new(&format!("^(?:{regex})$")).unwrap().is_match(own),
                other => panic!("{other:?}"),
            })
        })
    })
}

/// The names of the workloads behind a service, or one of its subsets.
fn workloads(mesh: &[Value], service: &str, subset: &str) -> Vec<String> {
    let find = |kind: &str, pointer: &str| mesh.iter().find(|own| own["kind"] == kind && text(own, pointer) == service);
    let selector =
        &find("Service", "/metadata/name").unwrap_or_else(|| panic!("no Service {service}"))["spec"]["selector"];
    if subset.is_empty() {
        return labelled(mesh, &[selector]);
    }
    let subsets = &find("DestinationRule", "/spec/host").unwrap()["spec"]["subsets"];
    let subset = subsets.as_array().unwrap().iter().find(|own| own["name"] == subset).unwrap();
    labelled(mesh, &[selector, &subset["labels"]])
}

/// The names of the workloads that have all of these labels.
fn labelled(mesh: &[Value], labels: &[&Value]) -> Vec<String> {
    let deployments = mesh.iter().filter(|document| document["kind"] == "Deployment");
    let has = |deployment: &&Value| {
        let mut wanted = labels.iter().flat_map(|labels| labels.as_object().unwrap());
        wanted.all(|(name, value)| deployment.pointer("/spec/template/metadata/labels").unwrap()[name] == *value)
    };
    deployments.filter(has).map(|deployment| text(deployment, "/metadata/name").to_owned()).collect()
}
