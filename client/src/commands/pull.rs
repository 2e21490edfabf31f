//! `wharf pull`.

use std::process::ExitCode;

use clap::Args;

use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::image::name::Name;
use crate::image::{platform, pull};
use crate::output::progress::Progress;

/// Flags of `wharf pull`.
#[derive(Debug, Args)]
pub struct Pull {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Skip image verification
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_parser = crate::cli::walk::no_content_trust
    )]
    disable_content_trust: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    name: String,
}

impl Pull {
    /// Pulls what the name means, or every tag of the repository.
    ///
    /// # Errors
    /// As [`pull::pull`].
    pub async fn execute(self, app: &App) -> Result<ExitCode> {
        debug_assert!(self.disable_content_trust, "the parser takes nothing else");
        let name = Name::parse(&self.name, &app.settings)?;
        let platform = self.platform.as_deref().map(platform::parse).transpose()?;
        if self.all_tags && (name.tag.is_some() || name.digest.is_some()) {
            return Err(Error::new(
                Kind::BadArguments,
                "tag can't be used with --all-tags/-a",
            ));
        }
        let progress = if self.quiet {
            Progress::silent()
        } else {
            Progress::to(&app.output)
        };
        let names = if self.all_tags {
            let registry = pull::registry_of(app, &name.host)?;
            let tags = registry.tags(&name.repository).await?;
            tags.iter()
                .filter_map(|tag| tag.parse().ok())
                .map(|tag| name.at_tag(tag))
                .collect()
        } else {
            if name.tag.is_none() && name.digest.is_none() && !self.quiet {
                app.output.line("Using default tag: latest")?;
            }
            vec![name.or_latest()]
        };
        for name in &names {
            let pulled = app
                .until_interrupted(pull::pull(app, name, platform.as_ref(), &progress))
                .await;
            progress.finish();
            let pulled = pulled?;
            let familiar = name.familiar(&app.settings);
            if !self.quiet {
                app.output.line(&format!("Digest: {}", pulled.digest))?;
                app.output.line(&pull::status(&familiar, pulled.newer))?;
            }
            app.output.line(&name.to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
