//! `wharf inspect`.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::version::FORMAT;
use crate::app::App;
use crate::container::{Containers, lifecycle};
use crate::error::{Error, Kind, Result};
use crate::image::catalog::Catalog;
use crate::image::inspect;
use crate::output::template;

/// Flags of `wharf inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    #[arg(short, long, value_name = "string", help = FORMAT)]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long = "type", value_name = "string")]
    kind: Option<String>,
    names: Vec<String>,
}

/// Flags of `wharf container inspect`.
#[derive(Debug, Args)]
pub struct InspectContainer {
    #[arg(short, long, value_name = "string", help = FORMAT)]
    format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
    names: Vec<String>,
}

/// Flags of `wharf image inspect`.
#[derive(Debug, Args)]
pub struct InspectImage {
    #[arg(short, long, value_name = "string", help = FORMAT)]
    format: Option<String>,
    names: Vec<String>,
}

impl Inspect {
    /// Describes containers and images.
    ///
    /// # Errors
    /// What does not exist, after what does was printed.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let kind = self.kind.as_deref().unwrap_or_default();
        if !matches!(kind, "" | "image" | "container") {
            return Err(Error::new(
                Kind::Unsupported,
                format!("\"{kind}\" is not a valid value for --type here"),
            ));
        }
        print_all(app, self.format.as_deref(), &self.names, |name| {
            if kind != "image" {
                match describe_container(app, name, self.size) {
                    Err(error) if kind.is_empty() && error.kind() == Kind::NotFound => {}
                    described => return described,
                }
            }
            describe_image(app, name, kind == "image")
        })
    }
}

impl InspectContainer {
    /// Describes containers.
    ///
    /// # Errors
    /// As [`Inspect::execute`].
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        print_all(app, self.format.as_deref(), &self.names, |name| {
            describe_container(app, name, self.size)
        })
    }
}

impl InspectImage {
    /// Describes images.
    ///
    /// # Errors
    /// As [`Inspect::execute`].
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        print_all(app, self.format.as_deref(), &self.names, |name| {
            describe_image(app, name, true)
        })
    }
}

fn describe_container(app: &App, name: &str, size: bool) -> Result<Value> {
    let containers = Containers::new(app.store()?);
    let state = lifecycle::find(app, &containers, name)?.into_state()?;
    crate::container::inspect::describe(&containers, &state, size)
}

fn describe_image(app: &App, name: &str, only_images: bool) -> Result<Value> {
    let store = app.store()?;
    match Catalog::of(store).find(name, &app.settings) {
        Ok((image, _)) => inspect::describe(store, &app.settings, &image),
        Err(error) if error.kind() == Kind::NotFound && only_images => Err(Error::engine(
            Kind::NotFound,
            format!("no such image: {name}: {}", error.text()),
        )),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::BadArguments) && !only_images => Err(
            Error::new(Kind::NotFound, format!("Error: No such object: {name}")),
        ),
        Err(error) => Err(error),
    }
}

/// Prints what exists, as one JSON list or a line each, then fails with what does not.
fn print_all(
    app: &App,
    format: Option<&str>,
    names: &[String],
    describe: impl Fn(&str) -> Result<Value>,
) -> Result<ExitCode> {
    let (mut described, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        match describe(name) {
            Ok(value) => described.push(value),
            Err(error) => failed.push(error),
        }
    }
    match format {
        Some(format) => {
            for value in &described {
                let rendered = template::render_one(format, value);
                app.output.line(rendered.as_deref().unwrap_or_default())?;
                rendered?;
            }
            if described.is_empty() {
                app.output.line("")?;
            }
        }
        None => {
            let mut text = Vec::new();
            let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
            let mut writer = serde_json::Serializer::with_formatter(&mut text, formatter);
            serde::Serialize::serialize(&described, &mut writer)
                .map_err(|error| Error::io("describe what was found", error))?;
            text.push(b'\n');
            app.output.bytes(&text)?;
        }
    }
    match failed.first().map(Error::kind) {
        None => Ok(ExitCode::SUCCESS),
        Some(kind) => Err(Error::new(
            kind,
            failed
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
        )),
    }
}
