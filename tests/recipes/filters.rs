//! The recipe with HTTP filters in the mirror's cluster, and the capabilities that operations lists.

use harness::client::Req;
use harness::process::ROOT;
use harness::scene::yaml;
use harness::{Setup, run};
use serde_json::{Value, json};

use crate::recipe::{Recipe, manager};

#[test]
fn filters_of_the_mirrors_cluster_change_the_copy_alone() {
    run(Recipe::new("Credentials of their own, another body").setup(), async |mesh| {
        let body = r#"{"env":"production","items":[1,2]}"#;
        mesh.send(Req::post("/orders", body).header("authorization", "Bearer user")).await;
        mesh.send(Req::get("/orders").header("authorization", "Bearer user")).await;
        mesh.responses("all", "mirror", "2xx", 2).await;
        for copy in mesh.mirror.received(2).await {
            assert_eq!(copy.value("authorization").as_deref(), Some("Bearer staging"));
            assert_eq!(copy.value("x-env").as_deref(), Some("staging"));
            let expected = if copy.method == "POST" { r#"{"env":"staging","items":[1,2]}"# } else { "" };
            assert_eq!(copy.body, expected);
        }
        for request in mesh.primary.received(2).await {
            assert_eq!(request.value("authorization").as_deref(), Some("Bearer user"));
            assert_eq!(request.value("x-env"), None);
            assert_eq!(request.body, if request.method == "POST" { body } else { "" });
        }
    });
}

/// The capabilities that docs/operations.md lists, as it shows them.
fn capabilities() -> Value {
    let page = std::fs::read_to_string(format!("{ROOT}/docs/operations.md")).unwrap();
    let block = page.split("```yaml\n").find(|block| block.starts_with("capability_restriction_config:")).unwrap();
    yaml(block.split("```").next().unwrap())[0]["capability_restriction_config"].clone()
}

#[test]
fn the_listed_capabilities_are_enough_and_without_that_of_calls_no_copy_is_sent() {
    let plugin = json!({
        "rules": [{"name": "all", "mirrors": [{"cluster": "mirror"}], "compare": {"status": true}}],
        "limits": {"maxRequestsPerSecond": 1000},
    });
    for is_complete in [true, false] {
        let mut allowed = capabilities();
        if !is_complete {
            allowed["allowed_capabilities"].as_object_mut().unwrap().remove("proxy_http_call").unwrap();
        }
        let restrict = move |bootstrap: &mut Value| {
            manager(bootstrap)["http_filters"][0]["typed_config"]["config"]["capability_restriction_config"] = allowed;
        };
        run(Setup::new(plugin.clone()).changed(restrict), async move |mesh| {
            assert_eq!(mesh.send(Req::post("/", "text")).await.status, 200);
            if is_complete {
                mesh.responses("all", "mirror", "2xx", 1).await;
                assert_eq!(mesh.mirror.received(1).await[0].body, "text");
            } else {
                mesh.copies("all", "mirror", "no_upstream", 1).await;
            }
        });
    }
}
