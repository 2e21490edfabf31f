//! The settings that the chart renders, read by the real registry.

use std::process::Command;

use serde_json::Value;

use crate::support::chart::{chart, files, objects};
use crate::support::programs::{ours, output};

/// The URL that the database's secret holds, for a pod that is given one.
const DATABASE: &str = "postgres://wharf:secret@postgres/wharf";

/// The registry's command of a rendered pod, with its variables, on the files that the pod would see.
fn command(objects: impl Iterator<Item = Value>, folder: &std::path::Path) -> Command {
    let objects: Vec<Value> = objects.collect();
    let kind = |wanted: &[&str]| {
        let found = objects
            .iter()
            .find(|object| wanted.contains(&object["kind"].as_str().unwrap()));
        found.cloned()
    };
    let workload = kind(&["Deployment", "StatefulSet"]).unwrap();
    let container = &workload["spec"]["template"]["spec"]["containers"][0];
    let file = folder.join("config.toml");
    if let Some(map) = kind(&["ConfigMap"]) {
        std::fs::write(&file, map["data"]["config.toml"].as_str().unwrap()).unwrap();
    }
    let mut command = Command::new(ours("wharf-registry"));
    command.env_clear().args(["config", "check"]);
    let arguments = container["args"].as_array().unwrap().iter();
    for argument in arguments.map(|argument| argument.as_str().unwrap()).skip(1) {
        command.arg(argument.replace("/etc/wharf-registry/config.toml", file.to_str().unwrap()));
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().unwrap();
        let from = &variable["valueFrom"];
        let value = match variable["value"].as_str() {
            Some(value) => value,
            None if from["secretKeyRef"].is_object() => DATABASE,
            None => "images",
        };
        command.env(name, value);
    }
    command
}

/// What the registry says of the settings of a file of values.
fn settings(values: &std::path::Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(objects(&chart(), values).into_values(), folder.path());
    let output = output(&mut command);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{}: {told}", values.display());
    assert_eq!(told, "", "{}", values.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_registry_takes_the_settings_of_each_value_file_without_a_warning() {
    for values in files("values") {
        settings(&values);
    }
}

#[test]
fn each_value_of_the_stores_and_addresses_reaches_the_registry() {
    let values = |name: &str| settings(&chart().join("tests/values").join(name));
    let production = values("production.yaml");
    for line in [
        "listen = \"0.0.0.0:5000\"",
        "metrics_listen = \"0.0.0.0:9090\"",
        "database = \"postgres://wharf:***@postgres/wharf\"",
        "storage = \"s3://images/wharf?region=eu-central-1\"",
        "public_url = \"https://images.example.com\"",
        "stop_delay = \"5s\"",
        "admin_password_file = \"/run/secrets/admin/password\"",
        "trusted_proxies = \"10.244.0.0/16\"",
    ] {
        assert!(production.contains(line), "{line}: {production}");
    }
    let one_box = values("existing-claim.yaml");
    for line in [
        "database = \"sqlite:/var/lib/wharf-registry/registry.db\"",
        "storage = \"file:/var/lib/wharf-registry/storage\"",
        "tls_cert = \"/run/secrets/tls/tls.crt\"",
        "tls_key = \"/run/secrets/tls/tls.key\"",
        "metrics_listen = \"\"",
        "public_url = \"\"",
    ] {
        assert!(one_box.contains(line), "{line}: {one_box}");
    }
}
