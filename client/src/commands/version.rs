//! `wharf version`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::error::Result;
use crate::output::template;

/// The help text of `--format` where only JSON and templates are offered.
pub(crate) const FORMAT: &str = "Format output using a custom template:\n\
    'json':             Print in JSON format\n\
    'TEMPLATE':         Print output using the given Go template.\n\
    Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/// Flags of `wharf version`.
#[derive(Debug, Args)]
pub struct Version {
    #[arg(short, long, value_name = "string", help = FORMAT)]
    format: Option<String>,
}

impl Version {
    /// Prints what this program is. There is no server to ask.
    ///
    /// # Errors
    /// A template that is wrong.
    pub fn execute(self, app: &App) -> Result<ExitCode> {
        let facts = json!({
            "Client": {
                "Platform": {"Name": "Wharf"},
                "Version": crate::VERSION,
                "ApiVersion": "1.50",
                "DefaultAPIVersion": "1.50",
                "GitCommit": crate::BUILD,
                "Os": "linux",
                "Arch": crate::ARCHITECTURE,
                "Context": "default",
            },
            "Server": {
                "Platform": {"Name": "Wharf (no daemon)"},
                "Version": crate::VERSION,
                "ApiVersion": "1.50",
                "Os": "linux",
                "Arch": crate::ARCHITECTURE,
            },
        });
        match self.format.as_deref() {
            Some(format) => app.output.line(&template::render_one(format, &facts)?)?,
            None => {
                app.output.line(&format!(
                    "Client: Wharf\n Version:           {}\n API version:       1.50\n Git commit:        {}\n \
                     OS/Arch:           linux/{}\n Context:           default\n\nServer: none (wharf needs no daemon)",
                    crate::VERSION,
                    crate::BUILD,
                    crate::ARCHITECTURE
                ))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
