//! What convert says where nothing came of what it read, or not all.

use crate::mirrorctl;

/// Some lines of what is said for a text.
#[track_caller]
fn says(text: &str, expected: &[&str]) {
    let ran = mirrorctl(&["convert", "-"], text);
    let said: Vec<_> = ran.err.lines().collect();
    assert_eq!((ran.code, &*ran.out), (1, ""), "{text}");
    assert_eq!(said, expected, "{text}");
}

#[test]
fn nothing_comes_with_what_was_read() {
    let nothing = "nothing is mirrored in these files: read: ";
    let read = |what: &str| format!("{nothing}{what}");
    says("", &[&read("no documents")]);
    says("# A comment.\n", &[&read("no documents")]);
    says("a: b\n", &[&read("1 without a kind")]);
    says(
        "kind: Service\n---\nkind: Deployment\n---\na: 1\n---\nkind: Service\n",
        &[&read("1 Deployment, 2 Service, 1 without a kind")],
    );
}

#[test]
fn nothing_comes_with_what_became_of_each_mirror() {
    let to = "{host: m, port: {number: 80}}";
    let route =
        |spec: &str| format!("kind: VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [a], http: [{spec}]}}\n");
    let virtual_service = "nothing is mirrored in these files: read: 1 VirtualService";
    says(
        &route(&format!("{{redirect: {{uri: /}}, mirror: {to}}}")),
        &[
            virtual_service,
            "stdin: document 1 (VirtualService a): spec.http[0].mirror: nothing is sent there: no request reaches the route, or it \
             redirects or responds itself",
        ],
    );
    says(
        &route(&format!("{{}}, {{mirrors: [{{destination: {to}}}]}}")),
        &[
            virtual_service,
            "stdin: document 1 (VirtualService a): spec.http[1].mirrors: nothing is sent there: no request reaches the route, or \
             it redirects or responds itself",
        ],
    );
    says(
        &format!("http: [{{mirror: {to}}}]\n"),
        &[
            "nothing is mirrored in these files: read: 1 without a kind",
            "stdin: document 1: http[0].mirror: not converted: the document has no kind: begin it with `apiVersion` and `kind`",
        ],
    );
    let rollout = "kind: Rollout\nmetadata: {name: a}\nspec: {steps: [{mirror: {a: b}}, {mirror: {c: d}}]}\n";
    says(
        rollout,
        &[
            "nothing is mirrored in these files: read: 1 Rollout",
            "stdin: document 1 (Rollout a): spec.steps[0].mirror: not converted: Rollout is no kind that is read",
        ],
    );
    let ran = mirrorctl(&["convert", "-"], &[rollout; 7].join("---\n"));
    assert_eq!(ran.err.lines().count(), 7, "{}", ran.err);
    assert!(ran.err.ends_with("and 2 other documents with mirrors that are not converted\n"), "{}", ran.err);
}

#[test]
fn a_host_that_its_gateway_does_not_have_is_told() {
    let gateway = "kind: Gateway\nmetadata: {name: g}\nspec: {servers: [{hosts: [b.test]}]}\n";
    let route = "kind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [a.test], gateways: [g], http: [{mirror: {host: m, port: \
                 {number: 80}}}]}\n";
    let said = mirrorctl(&["convert", "-"], &format!("{gateway}---\n{route}")).err;
    let expected = "warning: stdin: document 2 (VirtualService a): spec.hosts: the Gateway default/g has none of them: no request \
                    comes here\n";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("nothing is mirrored in these files: read: 1 Gateway, 1 VirtualService\n"), "{said}");
    let fits = gateway.replace("b.test", "'*.test'");
    assert!(!mirrorctl(&["convert", "-"], &format!("{fits}---\n{route}")).err.contains("none of them"));
}

#[test]
fn what_the_plugin_does_not_take_is_told_where_it_stands_in_the_files() {
    let first = "kind: VirtualService\nmetadata: {name: first}\nspec: {hosts: [first], http: [{mirror: {host: m, port: {number: 80}}}]}\n---\n";
    let virtual_service = |route: &str| {
        format!(
            "{first}kind: VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [a], http: [{{redirect: {{uri: /}}, match: [{{uri: {{exact: /x}}}}]}}, {{{route}}}]}}\n"
        )
    };
    let http_route = |rule: &str| {
        format!(
            "{first}kind: HTTPRoute\nmetadata: {{name: a}}\nspec: {{rules: [{{{rule}, backendRefs: [{{name: b, port: 80}}], filters: [{{type: RequestMirror, requestMirror: {{backendRef: {{name: m, port: 80}}}}}}]}}]}}\n"
        )
    };
    let mirror = "mirror: {host: m, port: {number: 80}}";
    for (text, expected) in [
        (
            http_route("matches: [{path: {type: RegularExpression, value: '('}}]"),
            "(HTTPRoute a): the route a-0: match[0].uri.regex: \"(\": not a regular expression: unclosed group",
        ),
        (
            virtual_service(&format!("match: [{{headers: {{a b: {{exact: x}}}}}}], {mirror}")),
            "(VirtualService a): the route a-1: match[0].headers.a b: {…}: not the name of a header",
        ),
        (
            virtual_service(&format!("rewrite: {{uriRegexRewrite: {{match: '(', rewrite: x}}}}, {mirror}")),
            "(VirtualService a): spec.http[1].mirror: rewrite.uriRegexRewrite.match: \"(\": not a regular expression: unclosed group",
        ),
        (
            virtual_service(
                "headers: {request: {set: {a: \"b\\nc\"}}}, mirrors: [{destination: {host: other, port: {number: 80}}}]",
            ),
            "(VirtualService a): spec.http[1].mirrors[0]: headers.set.a: (not shown): control characters cannot stand in a header",
        ),
    ] {
        let ran = mirrorctl(&["convert", "-"], &text);
        let told = ran.err.lines().any(|line| line == format!("stdin: document 2 {expected}"));
        assert!(ran.code == 1 && ran.out.is_empty() && told, "{text}\n{expected}\n{ran:?}");
    }
}

#[test]
fn what_all_routes_of_a_gateway_have_is_said_once() {
    let route = |name: &str, gateway: &str| {
        format!(
            "kind: HTTPRoute\nmetadata: {{name: {name}}}\nspec: {{parentRefs: [{{name: {gateway}, sectionName: http}}], hostnames: \
             [{name}.test], rules: [{{backendRefs: [{{name: b, port: 80}}], filters: [{{type: RequestMirror, requestMirror: \
             {{backendRef: {{name: m, port: 80}}}}}}]}}]}}\n"
        )
    };
    let text = [route("a", "g"), route("b", "g"), route("c", "h")].join("---\n");
    let said = mirrorctl(&["convert", "-"], &text).err;
    let about = |gateway: &str| said.matches(&format!("not checked, as in all routes of default/{gateway}: ")).count();
    assert_eq!((about("g"), about("h")), (1, 1), "{said}");
    let gateways: String = ["g", "h"]
        .map(|name| {
            format!(
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec: {{gatewayClassName: \
                 istio, listeners: [{{name: http, port: 80, protocol: HTTP}}]}}\n"
            )
        })
        .concat();
    let classes =
        "---\nkind: GatewayClass\nmetadata: {name: istio}\nspec: {controllerName: istio.io/gateway-controller}\n";
    let ran = mirrorctl(&["convert", "--strict", "-"], &(text + &gateways + classes));
    assert_eq!(ran.code, 0, "{}", ran.err);
}
