//! `wharf push`.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Args;

use super::login;
use crate::app::App;
use crate::error::{Error, Kind, Result};
use crate::image::catalog::Catalog;
use crate::image::name::Name;
use crate::image::{pull, push};
use crate::output::progress::Progress;
use crate::remote::credentials::Credentials;

/// Flags of `wharf push`.
#[derive(Debug, Args)]
pub struct Push {
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Skip image signing
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_parser = crate::cli::walk::no_content_trust
    )]
    disable_content_trust: bool,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    name: String,
}

impl Push {
    /// Pushes what the name means here.
    ///
    /// # Errors
    /// As [`push::push`].
    pub async fn execute(self, app: &App) -> Result<ExitCode> {
        debug_assert!(self.disable_content_trust, "the parser takes nothing else");
        let name = Name::parse(&self.name, &app.settings)?;
        if name.digest.is_some() {
            return Err(Error::new(Kind::BadArguments, "cannot push a digest reference"));
        }
        if self.all_tags && name.tag.is_some() {
            return Err(Error::new(
                Kind::BadArguments,
                "tag can't be used with --all-tags/-a",
            ));
        }
        let names = if self.all_tags {
            all_tags(app, &name)?
        } else {
            if name.tag.is_none() && !self.quiet {
                app.output.line("Using default tag: latest")?;
            }
            vec![name.clone().or_latest()]
        };
        if !self.quiet {
            app.output.line(&format!(
                "The push refers to repository [{}]",
                name.full_repository()
            ))?;
        }
        let progress = if self.quiet {
            Progress::silent()
        } else {
            Progress::to(&app.output)
        };
        for name in &names {
            let registry = pull::registry_of(app, &name.host)?;
            let pushed = match app
                .until_interrupted(push::push(app, &registry, name, &progress))
                .await
            {
                Err(error) if error.kind() == Kind::Denied && may_ask(app, &name.host)? => {
                    login::interactive(app, &name.host, None).await?;
                    let registry = pull::registry_of(app, &name.host)?;
                    app.until_interrupted(push::push(app, &registry, name, &progress))
                        .await
                }
                other => other,
            };
            progress.finish();
            let manifest = pushed?;
            if self.quiet {
                app.output.line(&name.to_string())?;
            } else {
                let tag = name.tag.as_ref().map(ToString::to_string).unwrap_or_default();
                app.output.line(&format!(
                    "{tag}: digest: {} size: {}",
                    manifest.digest, manifest.size_bytes
                ))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether a login can be asked for: none is known, and somebody sits there.
fn may_ask(app: &App, host: &str) -> Result<bool> {
    Ok(std::io::stdin().is_terminal() && Credentials::load(&app.docker_config)?.get(host)?.is_none())
}

fn all_tags(app: &App, name: &Name) -> Result<Vec<Name>> {
    let references = Catalog::of(app.store()?).references()?;
    let names: Vec<Name> = references
        .iter()
        .filter_map(|reference| reference.parsed().ok())
        .filter(|other| other.digest.is_none() && other.full_repository() == name.full_repository())
        .collect();
    if names.is_empty() {
        let familiar = name.familiar_repository(&app.settings);
        return Err(Error::new(
            Kind::NotFound,
            format!("An image does not exist locally with the tag: {familiar}"),
        ));
    }
    Ok(names)
}
