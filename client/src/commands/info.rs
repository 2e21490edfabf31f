//! `wharf info`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::version::FORMAT;
use crate::app::App;
use crate::error::Result;
use crate::image::catalog::Catalog;
use crate::output::template;

/// Flags of `wharf info`.
#[derive(Debug, Args)]
pub struct Info {
    #[arg(short, long, value_name = "string", help = FORMAT)]
    format: Option<String>,
}

impl Info {
    /// Prints what is known of this machine and store, with docker's keys.
    ///
    /// # Errors
    /// A store that cannot be opened, a wrong template.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let facts = facts(app)?;
        if let Some(format) = self.format.as_deref() {
            app.output.line(&template::render_one(format, &facts)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let text = |key: &str| match facts.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let memory = facts.get("MemTotal").and_then(Value::as_u64).unwrap_or(0);
        let lines = [
            "Client: Wharf".to_owned(),
            format!(" Version:    {}", crate::VERSION),
            " Context:    default".to_owned(),
            format!(" Debug Mode: {}", app.debug),
            String::new(),
            "Server: none (wharf needs no daemon)".to_owned(),
            format!(" Containers: {}", text("Containers")),
            format!(" Images: {}", text("Images")),
            format!(" Server Version: {}", text("ServerVersion")),
            format!(" Storage Driver: {}", text("Driver")),
            format!(" Cgroup Version: {}", text("CgroupVersion")),
            " Runtimes: wharf-runtime".to_owned(),
            " Default Runtime: wharf-runtime".to_owned(),
            format!(" Kernel Version: {}", text("KernelVersion")),
            format!(" Operating System: {}", text("OperatingSystem")),
            format!(" OSType: {}", text("OSType")),
            format!(" Architecture: {}", text("Architecture")),
            format!(" CPUs: {}", text("NCPU")),
            format!(" Total Memory: {}", binary_size(memory)),
            format!(" Name: {}", text("Name")),
            format!(" Docker Root Dir: {}", text("DockerRootDir")),
            format!(" Debug Mode: {}", app.debug),
            format!(" Default Registry: {}", app.settings.default_registry),
        ];
        app.output.line(&lines.join("\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn facts(app: &App) -> Result<Value> {
    let store = app.store()?;
    let images = Catalog::of(store).images()?.len();
    let containers = std::fs::read_dir(store.containers()).map_or(0, |entries| entries.flatten().count());
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    Ok(json!({
        "ID": null,
        "Containers": containers,
        "Images": images,
        "Driver": "overlay2",
        "ServerVersion": crate::VERSION,
        "KernelVersion": text(system.release()),
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": text(system.machine()),
        "NCPU": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "MemTotal": memory_bytes(),
        "CgroupVersion": if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "2" } else { "1" },
        "DefaultRuntime": "wharf-runtime",
        "Name": text(system.nodename()),
        "DockerRootDir": store.root().display().to_string(),
        "Debug": app.debug,
        "IndexServerAddress": app.settings.default_registry,
    }))
}

/// `PRETTY_NAME` of os-release.
fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "the field is narrower on some machines")]
    u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit))
}

/// A size in binary units with four digits, as docker writes memory: `23.5GiB`.
#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
fn binary_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    let whole = value.trunc().to_string().len();
    let text = format!("{value:.*}", 4_usize.saturating_sub(whole));
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    };
    format!("{text}{unit}")
}
