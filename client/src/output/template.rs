//! `--format`: Go templates over what a command found.

use std::sync::Arc;

use gotmpl::{MissingKey, Template, TemplateError, Value};
use serde_json::Value as Json;

use super::table;
use crate::error::{Error, Kind, Result};

/// One column that a row offers to templates: its key and the header that stands above it.
pub type Column = (&'static str, &'static str);

/// Renders one object by a template, or as JSON when the format is `json`.
///
/// # Errors
/// A template that is wrong, or names what is not there.
pub fn render_one(format: &str, object: &Json) -> Result<String> {
    if format == "json" {
        return Ok(object.to_string());
    }
    let template = compile(format).map_err(|error| error.of_kind(Kind::BadTemplate))?;
    execute(&template, format, object)
}

/// Renders rows of a list: `json`, `table`, `table TEMPLATE` (with a header) or a template a row.
///
/// # Errors
/// As [`render_one`].
pub fn render_rows(format: &str, default_table: &str, columns: &[Column], rows: &[Json]) -> Result<String> {
    let mut text = String::new();
    let format = if format == "json" { "{{json .}}" } else { format };
    let Some(body) = format.strip_prefix("table") else {
        let template = compile(format)?;
        for row in rows {
            text.push_str(&execute(&template, format, row)?);
            text.push('\n');
        }
        return Ok(text);
    };
    let body = if body.trim().is_empty() {
        default_table
    } else {
        body.trim_start()
    };
    let template = compile(body)?;
    let header = columns
        .iter()
        .map(|(key, header)| ((*key).to_owned(), Json::from(*header)))
        .collect();
    // A header cell is a text whatever function the template calls on it.
    text.push_str(&execute(
        &compile(&without_json(body))?,
        body,
        &Json::Object(header),
    )?);
    for row in rows {
        text.push('\n');
        text.push_str(&execute(&template, body, row)?);
    }
    Ok(table::align(&text))
}

fn without_json(body: &str) -> String {
    body.replace("{{json ", "{{").replace("{{ json ", "{{")
}

fn compile(text: &str) -> Result<Template> {
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    Template::new("")
        .missing_key(MissingKey::Error)
        .func("json", |values| {
            Ok(Value::String(to_json(one(values, "json")?).to_string().into()))
        })
        .func("lower", |values| {
            text_of(values, "lower", |text| text.to_lowercase())
        })
        .func("upper", |values| {
            text_of(values, "upper", |text| text.to_uppercase())
        })
        .func("title", |values| text_of(values, "title", title))
        .func("split", |values| {
            let (text, by) = (string(values, 0, "split")?, string(values, 1, "split")?);
            Ok(Value::List(
                text.split(by.as_str())
                    .map(|part| Value::String(part.into()))
                    .collect(),
            ))
        })
        .func("join", |values| {
            let separator = string(values, 1, "join")?;
            let Some(Value::List(items)) = values.first() else {
                return Err(TemplateError::Exec(
                    "join: the first argument is not a list".to_owned(),
                ));
            };
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            Ok(Value::String(items.join(&separator).into()))
        })
        .func("pad", |values| {
            let text = string(values, 0, "pad")?;
            let blanks = |n: usize| " ".repeat(number(values, n).min(1_000));
            let padded = if text.is_empty() {
                text
            } else {
                format!("{}{text}{}", blanks(1), blanks(2))
            };
            Ok(Value::String(padded.into()))
        })
        .func("truncate", |values| {
            let text = string(values, 0, "truncate")?;
            Ok(Value::String(
                text.chars().take(number(values, 1)).collect::<String>().into(),
            ))
        })
        .parse(&text)
        .map_err(|cause| Error::new(Kind::BadArguments, "template parsing error").because(cause))
}

fn execute(template: &Template, source: &str, object: &Json) -> Result<String> {
    template.execute_to_string(&from_json(object)).map_err(|cause| {
        let wrong = |text: String| Error::new(Kind::BadArguments, format!("template parsing error: {text}"));
        match &cause {
            TemplateError::MissingKey { key } => wrong(format!(
                "template: :{}: executing \"\" at <{}>: map has no entry for key \"{key}\"",
                place(source, key),
                node(source, key)
            )),
            other => wrong(other.to_string()),
        }
    })
}

/// Where a template first asks for a key: Go's line and column.
fn place(source: &str, key: &str) -> String {
    let at = source.find(&node(source, key)).unwrap_or(0);
    let before = source.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    format!("{}:{}", before.matches('\n').count() + 1, at - line_start)
}

/// The whole chain of fields that a template first asks for a key with: `.Config.Nope`.
fn node(source: &str, key: &str) -> String {
    let field = format!(".{key}");
    let at = source.find(&field).unwrap_or(0);
    let before = source.get(..at).unwrap_or_default();
    let chain = before
        .trim_end_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.');
    format!("{}{field}", before.get(chain.len()..).unwrap_or_default())
}

fn one<'a>(values: &'a [Value], name: &str) -> Result<&'a Value, TemplateError> {
    values
        .first()
        .ok_or_else(|| TemplateError::Exec(format!("{name}: an argument is missing")))
}

fn string(values: &[Value], at: usize, name: &str) -> Result<String, TemplateError> {
    values
        .get(at)
        .map(ToString::to_string)
        .ok_or_else(|| TemplateError::Exec(format!("{name}: an argument is missing")))
}

fn number(values: &[Value], at: usize) -> usize {
    values
        .get(at)
        .and_then(Value::as_int)
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(0)
}

fn text_of(values: &[Value], name: &str, change: impl Fn(&str) -> String) -> Result<Value, TemplateError> {
    Ok(Value::String(change(&string(values, 0, name)?).into()))
}

fn title(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// JSON as a template's value.
fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => Value::Int(value),
            (_, Some(value), _) => Value::Uint(value),
            (.., value) => Value::Float(value.unwrap_or(0.0)),
        },
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(members) => Value::Map(Arc::new(
            members
                .iter()
                .map(|(key, value)| (key.as_str().into(), from_json(value)))
                .collect(),
        )),
    }
}

/// A template's value as JSON.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil | Value::Function(_) => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::String(text) => Json::from(&**text),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(members) => Json::Object(
            members
                .iter()
                .map(|(key, value)| (key.to_string(), to_json(value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_rendered_by_a_template_or_as_json() {
        let object = json!({"Name": "a", "Tags": ["x", "y"]});
        assert_eq!(
            render_one("{{.Name}}: {{join .Tags \",\"}}", &object).unwrap(),
            "a: x,y"
        );
        assert_eq!(render_one("{{json .Tags}}", &object).unwrap(), "[\"x\",\"y\"]");
        assert_eq!(render_one("json", &object).unwrap(), object.to_string());
        assert_eq!(
            render_one("{{.Name}} {{.Nope}}", &object)
                .unwrap_err()
                .to_string(),
            "template parsing error: template: :1:12: executing \"\" at <.Nope>: map has no entry for key \"Nope\""
        );
        let error = render_one("{{", &object).unwrap_err();
        assert!(error.to_string().starts_with("template parsing error"), "{error}");
        assert_eq!(error.exit_code(), 64);
    }

    #[test]
    fn a_table_has_a_header_and_a_bare_template_has_none() {
        let columns = [("ID", "IMAGE ID"), ("Tag", "TAG")];
        let rows = [json!({"ID": "abc", "Tag": "latest"})];
        let table = render_rows("table {{.ID}}\\t{{.Tag}}", "", &columns, &rows).unwrap();
        assert_eq!(table, "IMAGE ID   TAG\nabc        latest\n");
        assert_eq!(render_rows("{{.Tag}}", "", &columns, &rows).unwrap(), "latest\n");
    }
}
