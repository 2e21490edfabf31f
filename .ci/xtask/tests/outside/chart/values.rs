//! The values: each has a default, a schema and a description, and stands in the chart's README.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::support::chart::{chart, files, yaml};

/// Where the README's table begins.
const TABLE: &str = "| value | default | what it is |\n|---|---|---|\n";

/// Visits each value that is set by itself: `a.b`, its schema.
fn leaves<'a>(schema: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    for (name, schema) in schema["properties"].as_object().unwrap() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        if schema["properties"].is_object() {
            assert_eq!(
                schema["additionalProperties"], false,
                "{path} takes what nobody reads"
            );
            leaves(schema, &path, found);
        } else {
            found.push((path, schema));
        }
    }
}

fn value<'a>(values: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(values, |value, name| value.get(name))
}

fn schema() -> Value {
    serde_json::from_slice(&fs::read(chart().join("values.schema.json")).unwrap()).unwrap()
}

fn defaults() -> Value {
    yaml(&chart().join("values.yaml"))[0].clone()
}

#[test]
fn the_readme_lists_each_value_with_its_default() {
    let (schema, defaults) = (schema(), defaults());
    let mut found = Vec::new();
    leaves(&schema, "", &mut found);
    let mut table = TABLE.to_owned();
    for (path, schema) in found.iter().filter(|(path, _)| path != "global") {
        let default = value(&defaults, path).unwrap_or_else(|| panic!("{path} has no default"));
        let description = schema["description"].as_str();
        let description = description.unwrap_or_else(|| panic!("{path} has no description"));
        writeln!(table, "| `{path}` | `{default}` | {description} |").unwrap();
    }
    let readme = chart().join("README.md");
    let text = fs::read_to_string(&readme).unwrap();
    let (before, _) = text.split_once(TABLE).unwrap();
    let now = format!("{before}{table}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&readme, &now).unwrap();
    }
    assert!(
        fs::read_to_string(&readme).unwrap() == now,
        "the table of {} is not that of values.schema.json: UPDATE_GOLDEN=1 writes it",
        readme.display()
    );
}

#[test]
fn each_default_is_in_the_schema() {
    let schema = schema();
    let mut found = Vec::new();
    leaves(&schema, "", &mut found);
    // Folds what the schema knows away; what is left, it doesn't.
    let mut defaults = defaults();
    for (path, _) in &found {
        if let Some(place) = defaults.pointer_mut(&format!("/{}", path.replace('.', "/"))) {
            *place = Value::Null;
        }
    }
    let mut left = Vec::new();
    unknown(&defaults, "", &mut left);
    assert!(left.is_empty(), "{left:?}");
}

fn unknown(value: &Value, path: &str, left: &mut Vec<String>) {
    match value {
        Value::Null => {}
        Value::Object(inner) => inner
            .iter()
            .for_each(|(name, value)| unknown(value, &format!("{path}/{name}"), left)),
        _ => left.push(path.to_owned()),
    }
}

#[test]
fn each_value_is_set_by_one_of_the_value_files() {
    let given: Vec<Value> = files("values").iter().map(|file| yaml(file)[0].clone()).collect();
    let schema = schema();
    let mut found = Vec::new();
    leaves(&schema, "", &mut found);
    let unused: Vec<&String> = found
        .iter()
        .map(|(path, _)| path)
        .filter(|path| !given.iter().any(|values| value(values, path).is_some()))
        .collect();
    assert_eq!(unused, ["global"]);
}
