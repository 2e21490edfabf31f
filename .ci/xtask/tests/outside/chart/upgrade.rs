//! From the previous version of the chart to this one, and from one box to several replicas.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::chart::{chart, files, objects, previous};

/// What of a StatefulSet may be changed; Kubernetes refuses a change of anything else in its `spec`.
const CHANGEABLE: [&str; 7] = [
    "replicas",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
    "ordinals",
];

/// Asserts that Kubernetes takes `after` in the place of `before`, and that what `before` kept is still found.
fn accepted(before: &Value, after: &Value, name: &str) {
    match before["kind"].as_str().unwrap() {
        "StatefulSet" => {
            let kept = |object: &Value| {
                let mut spec = object["spec"].as_object().unwrap().clone();
                spec.retain(|key, _| !CHANGEABLE.contains(&key.as_str()));
                spec
            };
            assert_eq!(kept(before), kept(after), "{name}");
            let volumes = |object: &Value| {
                let volumes = object["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
                let claims = volumes
                    .iter()
                    .filter(|volume| volume["persistentVolumeClaim"].is_object());
                claims.cloned().collect::<Vec<_>>()
            };
            assert_eq!(volumes(before), volumes(after), "{name}");
        }
        "Service" => {
            let kept = |object: &Value| {
                let spec = &object["spec"];
                (
                    spec["clusterIP"].clone(),
                    spec["type"].clone(),
                    spec["selector"].clone(),
                    spec["ports"].clone(),
                )
            };
            assert_eq!(kept(before), kept(after), "{name}");
        }
        _ => assert_eq!(before["apiVersion"], after["apiVersion"], "{name}"),
    }
}

#[test]
fn an_upgrade_from_the_previous_chart_is_accepted_and_finds_its_volume() {
    for values in files("previous/values") {
        let (before, after) = (objects(&previous(), &values), objects(&chart(), &values));
        assert!(before.keys().any(|(kind, _)| kind == "StatefulSet"));
        for (name, object) in &before {
            let now = after.get(name);
            let now = now.unwrap_or_else(|| panic!("{name:?} of {} is gone", values.display()));
            accepted(object, now, &format!("{name:?} of {}", values.display()));
        }
    }
}

#[test]
fn going_back_to_the_previous_chart_is_accepted_too() {
    for values in files("previous/values") {
        let (before, after) = (objects(&previous(), &values), objects(&chart(), &values));
        for (name, object) in &before {
            accepted(&after[name], object, &format!("{name:?} of {}", values.display()));
        }
    }
}

#[test]
fn the_default_values_change_nothing_but_the_version_and_the_test() {
    let values = chart().join("tests/previous/values/default.yaml");
    let (before, after) = (objects(&previous(), &values), objects(&chart(), &values));
    let new: Vec<&str> = after
        .keys()
        .filter(|name| !before.contains_key(*name))
        .map(|(kind, _)| kind.as_str())
        .collect();
    assert_eq!(new, ["Pod"]);
    let mut changed = BTreeSet::new();
    for (name, object) in &before {
        compare(object, &after[name], "", &mut changed);
    }
    let label = |place: &str| format!("{place}/metadata/labels/helm.sh/chart");
    assert_eq!(changed, BTreeSet::from([label(""), label("/spec/template")]));
}

/// Collects the paths of the values that differ.
fn compare(before: &Value, after: &Value, path: &str, changed: &mut BTreeSet<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for key in before.keys().chain(after.keys()) {
                let of =
                    |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
                compare(&of(before), &of(after), &format!("{path}/{key}"), changed);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (place, (before, after)) in before.iter().zip(after).enumerate() {
                compare(before, after, &format!("{path}/{place}"), changed);
            }
        }
        _ if before == after => {}
        _ => {
            changed.insert(path.to_owned());
        }
    }
}

#[test]
fn one_box_that_becomes_several_replicas_keeps_its_address() {
    let values = |name: &str| chart().join("tests/values").join(name);
    let (one, several) = (
        objects(&chart(), &values("default.yaml")),
        objects(&chart(), &values("production.yaml")),
    );
    let service = ("Service".to_owned(), "images-wharf-registry".to_owned());
    accepted(&one[&service], &several[&service], "the service");
    let kinds = |all: &std::collections::BTreeMap<(String, String), Value>| -> BTreeSet<String> {
        all.keys().map(|(kind, _)| kind.clone()).collect()
    };
    assert!(kinds(&one).contains("StatefulSet") && !kinds(&one).contains("Deployment"));
    assert!(kinds(&several).contains("Deployment") && !kinds(&several).contains("StatefulSet"));
}

#[test]
fn the_previous_chart_is_an_earlier_version_than_this_one() {
    let version = |text: &str| -> Vec<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix("version: "));
        line.unwrap()
            .split('.')
            .map(|part| part.parse().unwrap())
            .collect()
    };
    let shown = |chart: &Path| {
        let (mut helm, _home) = crate::support::chart::helm();
        version(&crate::support::programs::said(
            helm.args(["show", "chart"]).arg(chart),
        ))
    };
    assert!(shown(&previous()) < shown(&chart()));
}
