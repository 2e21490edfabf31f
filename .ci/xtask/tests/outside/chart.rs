//! The chart, rendered and linted by a real helm and checked against Kubernetes' own schemas.

mod config;
mod upgrade;
mod values;

use std::fs;

use serde_json::Value;

use crate::support::chart::{chart, files, helm, objects, rendered, template};
use crate::support::programs::{refused, said, tool};

/// Kubernetes versions whose schemas the chart satisfies: the oldest and the newest.
const VERSIONS: [&str; 2] = ["1.25", "1.37"];

#[test]
fn helm_finds_nothing_to_lint() {
    for values in files("values") {
        let (mut helm, _home) = helm();
        said(
            helm.args(["lint", "--strict", "--values"])
                .arg(values)
                .arg(chart()),
        );
    }
}

#[test]
fn each_value_file_renders_as_its_golden_file_says() {
    for values in files("values") {
        let golden = chart().join("tests/golden").join(values.file_name().unwrap());
        let now = rendered(&chart(), &values);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &now).unwrap();
        }
        let before = fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            now == before,
            "{} has changed: look at it with UPDATE_GOLDEN=1 and git diff",
            golden.display()
        );
    }
}

#[test]
fn what_is_rendered_satisfies_kubernetes_schemas() {
    let folder = tempfile::tempdir().unwrap();
    for values in files("values") {
        let file = folder.path().join(values.file_name().unwrap());
        fs::write(&file, rendered(&chart(), &values)).unwrap();
        for version in VERSIONS {
            said(
                tool("kubernetes-validate")
                    .args(["--strict", "-k", version])
                    .arg(&file),
            );
        }
    }
}

/// Reads objects by models of the types that Kubernetes itself does not have, and prints what the models do not know.
const BY_MODELS: &str = r#"
import json, sys
from cloudcoil.models.cert_manager.v1 import Certificate
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor
models = {"Certificate": Certificate, "ServiceMonitor": ServiceMonitor}
for given in json.load(sys.stdin):
    known = models[given["kind"]].model_validate(given).model_dump(mode="json", by_alias=True, exclude_unset=True)
    def compare(given, known, path):
        if isinstance(given, dict):
            for key, value in given.items():
                compare(value, known.get(key) if isinstance(known, dict) else None, path + "." + key)
        elif isinstance(given, list):
            for place, value in enumerate(given):
                compare(value, known[place] if isinstance(known, list) else None, f"{path}[{place}]")
        elif known is None:
            print(path)
    compare(given, known, given["kind"])
"#;

#[test]
fn objects_of_the_operators_types_have_the_fields_that_those_have() {
    let unknown = |objects: &[Value]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), serde_json::to_vec(objects).unwrap()).unwrap();
        said(
            tool("python3")
                .args(["-c", BY_MODELS])
                .stdin(fs::File::open(file.path()).unwrap()),
        )
    };
    let all = objects(&chart(), &chart().join("tests/values/everything.yaml"));
    let custom: Vec<Value> = all
        .into_iter()
        .filter(|((kind, _), _)| ["Certificate", "ServiceMonitor"].contains(&kind.as_str()))
        .map(|(_, object)| object)
        .collect();
    assert_eq!(custom.len(), 2);
    assert_eq!(unknown(&custom), "");
    let mut wrong = custom;
    wrong[1]["spec"]["endpoints"][0]["every"] = "30s".into();
    assert_eq!(unknown(&wrong), "ServiceMonitor.spec.endpoints[0].every\n");
}

/// Values, and what their refusal names. EXTERNAL stands for a database and a storage outside the pods.
const WRONG: &str = "
replicas=2 => replicas: 2 registries need a database and a storage
replicas=3,storage.url=s3://b/p => set database.existingSecret and storage.url
replicas=3,database.existingSecret=d => set database.existingSecret and storage.url
autoscaling.enabled=true => autoscaling: several registries need
EXTERNAL,autoscaling.enabled=true,autoscaling.minReplicas=11 => is more than autoscaling.maxReplicas
EXTERNAL,stopDelaySeconds=20,terminationGracePeriodSeconds=50 => terminationGracePeriodSeconds: must be more
terminationGracePeriodSeconds=30 => terminationGracePeriodSeconds
tls.existingSecret=t,tls.certManager.enabled=true => not both
tls.certManager.enabled=true => tls.certManager.issuerRef.name must name
storage.existingSecret=s => storage.existingSecret is for the storage
storage.url=s3://key:secret@b/p => /storage/url
metrics.serviceMonitor.enabled=true => needs metrics.enabled
metrics.enabled=true,metrics.port=5000 => metrics.port
ingress.enabled=true => host
image.digest=sha256:short => digest
service.port=0 => port
persistence.accessModes={ReadOnlyMany} => accessModes
replica=3 => replica
networkPolicy.clients[0].podselector.a=b => podselector
";

#[test]
fn wrong_values_are_refused_by_name() {
    for line in WRONG.trim().lines() {
        let (values, named) = line.split_once(" => ").unwrap();
        let values = values.replace("EXTERNAL", "database.existingSecret=d,storage.url=s3://b/p");
        let (mut helm, _home) = template(&chart(), &["--set", "admin.existingSecret=a", "--set", &values]);
        let told = refused(&mut helm);
        assert!(told.contains(named), "{values}: {told}");
    }
    let (mut helm, _home) = template(&chart(), &[]);
    let told = refused(&mut helm);
    assert!(told.contains("admin.existingSecret must name a secret"), "{told}");
}

#[test]
fn each_pod_can_do_nothing_but_its_work() {
    for values in files("values") {
        let mut pods = 0;
        for ((kind, name), object) in objects(&chart(), &values) {
            let spec = match kind.as_str() {
                "Deployment" | "StatefulSet" => &object["spec"]["template"]["spec"],
                "Pod" => &object["spec"],
                _ => continue,
            };
            pods += 1;
            let context = format!("{kind} {name} of {}", values.display());
            for key in ["enableServiceLinks", "automountServiceAccountToken"] {
                assert_eq!(spec[key], false, "{context}: {key}");
            }
            // Kubernetes' "restricted" pod security standard, and no writable root.
            let pod = &spec["securityContext"];
            assert_eq!(pod["runAsNonRoot"], true, "{context}");
            assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault", "{context}");
            for container in spec["containers"].as_array().unwrap() {
                let own = &container["securityContext"];
                assert_eq!(own["allowPrivilegeEscalation"], false, "{context}");
                assert_eq!(own["readOnlyRootFilesystem"], true, "{context}");
                assert_eq!(
                    own["capabilities"]["drop"],
                    serde_json::json!(["ALL"]),
                    "{context}"
                );
                assert!(
                    container["resources"]["limits"]["memory"].is_string(),
                    "{context}"
                );
            }
        }
        assert_eq!(pods, 2, "{}", values.display());
    }
}

#[test]
fn the_service_leads_to_the_registry_s_pods_and_to_no_other() {
    for values in files("values") {
        let all = objects(&chart(), &values);
        let labels = |object: &Value| match object["kind"].as_str() {
            Some("Pod") => object["metadata"]["labels"].clone(),
            _ => object["spec"]["template"]["metadata"]["labels"].clone(),
        };
        for ((kind, name), service) in &all {
            if kind != "Service" {
                continue;
            }
            let chooses = |labels: &Value| {
                let wanted = service["spec"]["selector"].as_object().unwrap();
                wanted.iter().all(|(key, value)| labels[key] == *value)
            };
            for ((kind, pod), object) in &all {
                if ["Deployment", "StatefulSet", "Pod"].contains(&kind.as_str()) {
                    assert_eq!(chooses(&labels(object)), kind != "Pod", "{name} and {kind} {pod}");
                }
            }
        }
    }
}

#[test]
fn the_chart_names_the_image_that_cargo_x_image_writes() {
    let pod = rendered(&chart(), &chart().join("tests/values/default.yaml"));
    assert!(
        pod.contains(&format!("image: \"{}\"", xtask::image::REGISTRY_NAME)),
        "{pod}"
    );
}
