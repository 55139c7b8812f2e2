//! `deploy/flagger/` and `deploy/argo-rollouts/`: no unknown field, all names that resources have of each other are there, and what
//! the queries say of no traffic, of little, and of good and bad mirrors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::types::{Resource, WasmPlugin};
use crate::{documents, read};

const CANARIES: [&str; 2] = ["deploy/flagger/istio.yaml", "deploy/flagger/kubernetes.yaml"];
const TEMPLATES: &str = "deploy/flagger/metrics.yaml";
const ANALYSIS: &str = "deploy/argo-rollouts/analysis.yaml";
const REPORT: &str = "deploy/argo-rollouts/report.yaml";
const ROLLOUT: &str = "deploy/argo-rollouts/rollout.yaml";

// ---- the resources, as far as Flagger (flagger.app/v1beta1) and Argo Rollouts (argoproj.io/v1alpha1) know them

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetricTemplate {
    provider: Provider,
    query: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Provider {
    r#type: String,
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Canary {
    provider: String,
    target_ref: TargetRef,
    service: CanaryService,
    analysis: CanaryAnalysis,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TargetRef {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CanaryService {
    port: u16,
}

/// No `mirror`: the requests would be mirrored twice.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CanaryAnalysis {
    interval: String,
    iterations: u32,
    threshold: u32,
    metrics: Vec<CanaryMetric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CanaryMetric {
    name: String,
    interval: String,
    template_ref: TemplateRef,
    template_variables: BTreeMap<String, String>,
    threshold_range: Range,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateRef {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    min: f64,
    max: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnalysisTemplate {
    args: Vec<Arg>,
    metrics: Vec<AnalysisMetric>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arg {
    name: String,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AnalysisMetric {
    name: String,
    initial_delay: String,
    interval: String,
    count: u32,
    success_condition: Option<String>,
    failure_condition: Option<String>,
    #[serde(default)]
    failure_limit: i32,
    inconclusive_limit: Option<u32>,
    consecutive_success_limit: Option<u32>,
    provider: AnalysisProvider,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum AnalysisProvider {
    Prometheus { address: String, query: String },
    Job { spec: Value },
}

fn read_as<T: DeserializeOwned>(path: &str, kind: &str) -> Vec<Resource<T>> {
    let all = documents(path).into_iter().filter(|document| document["kind"] == kind);
    all.map(|document| serde_json::from_value(document).unwrap_or_else(|error| panic!("{path}: {error}"))).collect()
}

fn canary(path: &str) -> Canary {
    read_as::<Canary>(path, "Canary").remove(0).spec
}

fn analysis(path: &str) -> AnalysisTemplate {
    read_as::<AnalysisTemplate>(path, "AnalysisTemplate").remove(0).spec
}

/// Returns what stands between `{{` and `}}`.
fn placeholders(text: &str) -> BTreeSet<&str> {
    text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim()).collect()
}

/// Reads whole minutes: `3m`.
fn minutes(text: &str) -> u32 {
    text.strip_suffix('m').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}: no minutes"))
}

/// Returns the configuration of a file's plugin, and the labels of the pods that it is for.
fn plugin(path: &str) -> (Value, Value) {
    let document = documents(path).into_iter().find(|document| document["kind"] == "WasmPlugin").unwrap();
    serde_json::from_value::<Resource<WasmPlugin>>(document.clone()).unwrap_or_else(|error| panic!("{path}: {error}"));
    (document["spec"]["pluginConfig"].clone(), document["spec"]["selector"]["matchLabels"].clone())
}

// ---- names that resources have of each other

#[test]
fn a_canary_asks_templates_that_are_there_for_the_rule_of_the_plugin() {
    let templates = read_as::<MetricTemplate>(TEMPLATES, "MetricTemplate");
    let (config, pods) = plugin(CANARIES[0]);
    let rule = &config["rules"][0];
    assert!(rule["compare"]["status"] == true, "{rule}");
    for path in CANARIES {
        let canary = canary(path);
        assert_eq!(canary.provider == "istio", path.ends_with("istio.yaml"), "{path}");
        assert_eq!(pods["app"], format!("{}-primary", canary.target_ref.name));
        let service = format!("{}-canary.test.svc.cluster.local", canary.target_ref.name);
        assert_eq!(rule["mirrors"][0]["destination"]["host"], service);
        assert_eq!(rule["mirrors"][0]["destination"]["port"]["number"], canary.service.port);
        assert_eq!(canary.analysis.metrics.len(), templates.len(), "{path}");
        for metric in &canary.analysis.metrics {
            let template =
                templates.iter().find(|template| template.metadata.name == metric.template_ref.name).unwrap();
            assert_eq!(template.spec.provider.r#type, "prometheus");
            assert!(template.spec.provider.address.starts_with("http://"));
            let given = metric.template_variables.keys().map(|name| format!("variables.{name}"));
            let given: BTreeSet<_> = given.chain(["namespace", "interval"].map(str::to_owned)).collect();
            let used = placeholders(&template.spec.query).into_iter().map(str::to_owned).collect();
            assert_eq!(given, used, "{path}: {}", metric.name);
            assert_eq!(rule["name"], metric.template_variables["rule"]);
            assert_eq!(rule["mirrors"][0]["name"], metric.template_variables["mirror"]);
        }
    }
}

/// The last check comes when Flagger has sent all requests to the canary for one interval.
#[test]
fn a_canarys_queries_reach_back_before_its_last_iteration() {
    for path in CANARIES {
        let analysis = canary(path).analysis;
        for metric in &analysis.metrics {
            assert!(minutes(&metric.interval) >= 3 * minutes(&analysis.interval), "{path}: {}", metric.name);
            assert!(analysis.threshold > minutes(&metric.interval) / minutes(&analysis.interval), "{path}");
        }
        assert!(analysis.iterations > analysis.threshold, "{path}");
    }
}

#[test]
fn an_analysis_uses_arguments_that_it_has_and_the_rollout_gives_all_others() {
    let rollout = documents(ROLLOUT).into_iter().find(|document| document["kind"] == "Rollout").unwrap();
    let run = &rollout["spec"]["strategy"]["blueGreen"]["prePromotionAnalysis"];
    let named: Vec<_> = run["templates"].as_array().unwrap().iter().map(|template| &template["templateName"]).collect();
    let given: BTreeSet<_> =
        run["args"].as_array().unwrap().iter().map(|arg| arg["name"].as_str().unwrap().to_owned()).collect();
    let mut wanted = BTreeSet::new();
    for path in [ANALYSIS, REPORT] {
        let template = read_as::<AnalysisTemplate>(path, "AnalysisTemplate").remove(0);
        assert!(named.iter().any(|name| **name == template.metadata.name), "{path}");
        let text = read(path);
        let used: BTreeSet<_> = placeholders(&text);
        let declared: Vec<_> = template.spec.args.iter().map(|arg| format!("args.{}", arg.name)).collect();
        assert_eq!(used, declared.iter().map(String::as_str).collect(), "{path}");
        wanted.extend(template.spec.args.into_iter().filter(|arg| arg.value.is_none()).map(|arg| arg.name));
    }
    assert_eq!(given, wanted);
    let (config, _) = plugin(ROLLOUT);
    let value = |name: &str| &run["args"].as_array().unwrap().iter().find(|arg| arg["name"] == name).unwrap()["value"];
    assert_eq!(&config["rules"][0]["name"], value("rule"));
    assert_eq!(&config["rules"][0]["mirrors"][0]["name"], value("mirror"));
}

/// Else the active pods would get each request a second time, once they are promoted.
#[test]
fn the_mirror_of_a_rollout_is_a_service_of_its_preview_alone() {
    let all = documents(ROLLOUT);
    let rollout = all.iter().find(|document| document["kind"] == "Rollout").unwrap();
    let strategy = &rollout["spec"]["strategy"]["blueGreen"];
    let (config, pods) = plugin(ROLLOUT);
    let host = config["rules"][0]["mirrors"][0]["destination"]["host"].as_str().unwrap();
    let name = host.split('.').next().unwrap();
    let service = all.iter().find(|document| document["kind"] == "Service" && document["metadata"]["name"] == name);
    let mut labels = strategy["previewMetadata"]["labels"].as_object().unwrap().clone();
    assert_ne!(&strategy["activeMetadata"]["labels"], &strategy["previewMetadata"]["labels"]);
    labels.extend(rollout["spec"]["selector"]["matchLabels"].as_object().unwrap().clone());
    assert_eq!(service.unwrap()["spec"]["selector"], Value::Object(labels));
    assert_eq!(pods, rollout["spec"]["selector"]["matchLabels"]);
    assert_ne!(strategy["previewService"], name);
    assert!(strategy["postPromotionAnalysis"].is_null());
}

#[test]
fn the_reports_job_is_one_look_of_those_that_decide_together() {
    let template = analysis(REPORT);
    let metric = &template.metrics[0];
    let AnalysisProvider::Job { spec } = &metric.provider else { panic!("no Job") };
    let pod = &spec["template"]["spec"];
    assert_eq!((&spec["backoffLimit"], &pod["restartPolicy"]), (&json!(0), &json!("Never")));
    let args: Vec<_> =
        pod["containers"][0]["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    assert_eq!(args[0], "report");
    assert!(args.contains(&format!("--looks={}", metric.count).as_str()), "{args:?}");
    assert!(args.contains(&format!("--for={}", metric.interval).as_str()), "{args:?}");
    assert_eq!(metric.initial_delay, metric.interval);
    // One success is enough, failures are waited out, and without a success the count ends in a failure.
    assert_eq!((metric.consecutive_success_limit, metric.failure_limit), (Some(1), -1));
    assert_eq!((&metric.success_condition, &metric.inconclusive_limit), (&None, &None));
}

// ---- the queries

/// What a Canary or an analysis makes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passes,
    Fails,
    /// Argo Rollouts alone; Flagger counts it as a failed check.
    Inconclusive,
}
use Verdict::{Fails, Inconclusive, Passes};

/// A query with its values, and the verdicts on what it returns.
struct Asked {
    place: String,
    kind: &'static str,
    text: String,
    verdict: Box<dyn Fn(f64) -> Verdict>,
}

/// Returns the kind of a query, by the end of its name.
fn kind(name: &str) -> &'static str {
    ["worse", "slower", "dropped"].into_iter().find(|kind| name.ends_with(kind)).unwrap()
}

fn asked() -> Vec<Asked> {
    let mut all = Vec::new();
    let templates = read_as::<MetricTemplate>(TEMPLATES, "MetricTemplate");
    for path in CANARIES {
        for metric in canary(path).analysis.metrics {
            let template =
                templates.iter().find(|template| template.metadata.name == metric.template_ref.name).unwrap();
            let mut text =
                template.spec.query.replace("{{ namespace }}", "test").replace("{{ interval }}", &metric.interval);
            for (name, value) in &metric.template_variables {
                let value = if name == "minimum" { value } else { &"r".to_owned() };
                text = text.replace(&format!("{{{{ variables.{name} }}}}"), value);
            }
            let Range { min, max } = metric.threshold_range;
            let verdict = move |value| if min <= value && value <= max { Passes } else { Fails };
            all.push(Asked {
                place: format!("{path}: {}", metric.name),
                kind: kind(&metric.name),
                text,
                verdict: Box::new(verdict),
            });
        }
    }
    for metric in analysis(ANALYSIS).metrics {
        let AnalysisProvider::Prometheus { address, query } = metric.provider else { panic!("no query") };
        assert_eq!(address, "{{args.prometheus}}");
        let mut text = query;
        for (name, value) in [("namespace", "test"), ("rule", "r"), ("mirror", "r"), ("minimum", "100")] {
            text = text.replace(&format!("{{{{args.{name}}}}}"), value);
        }
        let (success, failure) = (metric.success_condition.unwrap(), metric.failure_condition.unwrap());
        // As Argo Rollouts does it: what meets neither condition is inconclusive.
        let verdict = move |value| match (holds(&failure, value), holds(&success, value)) {
            (true, _) => Fails,
            (false, true) => Passes,
            (false, false) => Inconclusive,
        };
        all.push(Asked {
            place: format!("{ANALYSIS}: {}", metric.name),
            kind: kind(&metric.name),
            text,
            verdict: Box::new(verdict),
        });
    }
    for asked in &mut all {
        assert!(!asked.text.contains("{{") && !asked.text.contains('#'), "{}: {}", asked.place, asked.text);
        // As Flagger does it.
        asked.text = asked.text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    assert_eq!(all.len(), 9);
    all
}

/// Evaluates a condition such as `result[0] >= 0 && result[0] <= 1`.
fn holds(condition: &str, value: f64) -> bool {
    condition.split(" && ").all(|clause| {
        let ["result[0]", operator, number] = clause.split(' ').collect::<Vec<_>>()[..] else { panic!("{clause}") };
        let number: f64 = number.parse().unwrap();
        match operator {
            ">=" => value >= number,
            "<=" => value <= number,
            ">" => value > number,
            _ => panic!("{clause}"),
        }
    })
}

/// Series, each as its name with labels, and how it grows in promtool's notation, a step each 15 seconds; the queries are asked
/// after ten minutes, which are 40 steps.
struct Case {
    name: &'static str,
    series: Vec<(String, &'static str)>,
    /// What Flagger's queries return (worse, slower, dropped), and those of Argo Rollouts.
    flagger: [f64; 3],
    argo: [f64; 3],
    verdicts: [[Verdict; 3]; 2],
}

fn compared(result: &str) -> String {
    format!(r#"traffic_mirror_compared_total{{namespace="test",rule="r",mirror="r",result="{result}"}}"#)
}

fn copies(outcome: &str) -> String {
    format!(r#"traffic_mirror_copies_total{{namespace="test",rule="r",mirror="r",outcome="{outcome}"}}"#)
}

fn times(name: &str) -> String {
    format!(r#"traffic_mirror_{name}{{namespace="test",rule="r",mirror="r"}}"#)
}

/// Both return the same, and both say the same of it.
fn same(name: &'static str, values: [f64; 3], verdicts: [Verdict; 3], series: Vec<(String, &'static str)>) -> Case {
    let of_flagger = verdicts.map(|verdict| if verdict == Inconclusive { Fails } else { verdict });
    Case { name, series, flagger: values, argo: values, verdicts: [of_flagger, verdicts] }
}

/// A mirror that is as good: 50 pairs each 15 seconds, half of them slower by 4 ms, half faster by 4.
fn good() -> Vec<(String, &'static str)> {
    vec![
        (compared("same"), "0+50x60"),
        (compared("mirror_error"), "0x60"),
        (compared("primary_error"), "0x60"),
        (copies("sent"), "0+50x60"),
        (copies("unsampled"), "0+950x60"),
        (copies("in_flight_limit"), "0x60"),
        (copies("no_upstream"), "0x60"),
        (times("slower_ms_sum"), "0+100x60"),
        (times("slower_ms_count"), "0+25x60"),
        (times("faster_ms_sum"), "0+100x60"),
        (times("faster_ms_count"), "0+25x60"),
    ]
}

/// The same, with some series that grow in another way, or are added.
fn but(changes: &[(String, &'static str)]) -> Vec<(String, &'static str)> {
    let kept = good().into_iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    kept.chain(changes.iter().cloned()).collect()
}

fn cases() -> Vec<Case> {
    let none = [-1.0; 3];
    let unknown = [Inconclusive; 3];
    let still = good().into_iter().map(|(name, _)| (name, "7x60")).collect();
    vec![
        same("no series", none, unknown, Vec::new()),
        same("no traffic", none, unknown, still),
        same(
            "little traffic, and all of it is bad",
            none,
            unknown,
            vec![(compared("same"), "0x60"), (compared("mirror_error"), "0+2x60"), (copies("sent"), "0+2x60")],
        ),
        same("as good", [0.0; 3], [Passes; 3], good()),
        same(
            "the series that have counted alone",
            [0.0, -1.0, 0.0],
            [Passes, Inconclusive, Passes],
            vec![(compared("same"), "0+50x60"), (copies("sent"), "0+50x60")],
        ),
        same(
            "errors of the mirror",
            [10.0, 0.0, 0.0],
            [Fails, Passes, Passes],
            but(&[
                (compared("same"), "0+45x60"),
                (compared("mirror_error"), "0+4x60"),
                (compared("primary_only"), "0+1x60"),
            ]),
        ),
        same(
            "a mirror without responses",
            [100.0, -1.0, 0.0],
            [Fails, Inconclusive, Passes],
            vec![(compared("primary_only"), "0+50x60"), (copies("sent"), "0+50x60")],
        ),
        same(
            "other bodies",
            [20.0, 0.0, 0.0],
            [Fails, Passes, Passes],
            but(&[(compared("same"), "0+40x60"), (compared("different_body"), "0+10x60")]),
        ),
        same(
            "errors on both sides, of other requests",
            [0.0; 3],
            [Passes; 3],
            but(&[(compared("mirror_error"), "0+5x60"), (compared("primary_error"), "0+5x60")]),
        ),
        same("pairs that tell nothing", [-1.0, 0.0, 0.0], [Inconclusive, Passes, Passes], {
            but(&[
                (compared("same"), "0x60"),
                (compared("not_compared"), "0+50x60"),
                (compared("mirror_only"), "0+50x60"),
            ])
        }),
        same("slower", [0.0, 98.0, 0.0], [Passes, Fails, Passes], but(&[(times("slower_ms_sum"), "0+5000x60")])),
        same("faster", [0.0; 3], [Passes; 3], but(&[(times("faster_ms_sum"), "0+5000x60")])),
        same(
            "limits keep copies back",
            [0.0, 0.0, 20.0],
            [Passes, Passes, Fails],
            but(&[(copies("sent"), "0+40x60"), (copies("in_flight_limit"), "0+10x60")]),
        ),
        same("another rule and another namespace are bad", [0.0; 3], [Passes; 3], {
            let others = ["rule=\"other\"", "mirror=\"other\"", "namespace=\"other\""].map(|other| {
                let (label, _) = other.split_once('=').unwrap();
                let old = if label == "namespace" { "test" } else { "r" };
                (compared("mirror_error").replace(&format!(r#"{label}="{old}""#), other), "0+50x60")
            });
            but(&others)
        }),
        same("proxies without the label namespace", [0.0; 3], [Passes; 3], {
            good().into_iter().map(|(name, grows)| (name.replace(r#"namespace="test","#, ""), grows)).collect()
        }),
        // It was there for the last 70 seconds, and had no pod before.
        same(
            "the canary has come",
            [0.0; 3],
            [Passes; 3],
            vec![
                (compared("same"), "0x35 50+50x24"),
                (copies("sent"), "0x35 50+50x24"),
                (copies("no_upstream"), "0+50x35 1750x24"),
                (times("slower_ms_sum"), "0x35 100+100x24"),
                (times("slower_ms_count"), "0x35 25+25x24"),
                (times("faster_ms_sum"), "0x35 100+100x24"),
                (times("faster_ms_count"), "0x35 25+25x24"),
            ],
        ),
        // Flagger's last check, one interval after it has sent all requests to the canary.
        Case {
            name: "all requests go to the canary",
            series: good()
                .into_iter()
                .map(|(name, grows)| (name, if grows == "0x60" { grows } else { "0+50x35 1750x24" }))
                .collect(),
            flagger: [0.0; 3],
            argo: none,
            verdicts: [[Passes; 3], unknown],
        },
    ]
}

/// `make prometheus-test` runs it.
#[test]
#[ignore = "needs promtool, which comes with Prometheus"]
fn the_queries_always_return_one_number_and_tell_good_mirrors_from_bad() {
    let asked = asked();
    let mut tests = Vec::new();
    for case in cases() {
        let mut expressions = Vec::new();
        for one in &asked {
            let index = ["worse", "slower", "dropped"].iter().position(|kind| *kind == one.kind).unwrap();
            let (values, verdicts) = if one.place.starts_with(ANALYSIS) {
                (case.argo, case.verdicts[1])
            } else {
                (case.flagger, case.verdicts[0])
            };
            assert_eq!((one.verdict)(values[index]), verdicts[index], "{}: {}", case.name, one.place);
            expressions.push(json!({
                "expr": format!("round({}, 0.001)", one.text),
                "eval_time": "10m",
                "exp_samples": [{ "labels": "{}", "value": values[index] }],
            }));
        }
        let series: Vec<_> =
            case.series.iter().map(|(series, values)| json!({ "series": series, "values": values })).collect();
        tests.push(json!({
            "name": case.name, "interval": "15s", "input_series": series, "promql_expr_test": expressions,
        }));
    }
    // JSON is YAML.
    let path = std::env::temp_dir().join(format!("traffic-mirror-delivery-{}.yml", std::process::id()));
    fs::write(&path, json!({ "evaluation_interval": "15s", "tests": tests }).to_string()).unwrap();
    let done = Command::new("promtool").args(["test", "rules"]).arg(&path).output();
    fs::remove_file(&path).unwrap();
    let done = done.unwrap_or_else(|error| panic!("promtool: {error}: install Prometheus"));
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{said}");
}
