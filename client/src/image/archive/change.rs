//! `--change`: a Dockerfile instruction applied to an image's configuration.

use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::image::config::RunConfig;

/// Applies one instruction.
///
/// # Errors
/// [`Kind::BadArguments`] for an instruction that changes no configuration or is malformed.
pub fn apply(config: &mut RunConfig, instruction: &str) -> Result<()> {
    let text = instruction.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let wrong = |why: &str| {
        Error::engine(
            Kind::BadArguments,
            format!("{word}: {why} in --change \"{instruction}\""),
        )
    };
    if rest.is_empty() {
        return Err(wrong("an argument is missing"));
    }
    match word.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            for (name, value) in pairs(rest).ok_or_else(|| wrong("expected NAME=VALUE"))? {
                let prefix = format!("{name}=");
                config.env.retain(|known| !known.starts_with(&prefix));
                config.env.push(format!("{name}={value}"));
            }
        }
        "LABEL" => config
            .labels
            .extend(pairs(rest).ok_or_else(|| wrong("expected NAME=VALUE"))?),
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                config
                    .exposed_ports
                    .insert(port_of(port).ok_or_else(|| wrong("not a port"))?, json!({}));
            }
        }
        "ONBUILD" => config.on_build.get_or_insert_default().push(rest.to_owned()),
        "SHELL" => config.shell = Some(json_list(rest).ok_or_else(|| wrong("expected a JSON list"))?),
        "STOPSIGNAL" => config.stop_signal = rest.to_owned(),
        "USER" => config.user = rest.to_owned(),
        "VOLUME" => {
            let folders =
                json_list(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
            config
                .volumes
                .extend(folders.into_iter().map(|folder| (folder, json!({}))));
        }
        "WORKDIR" => {
            config.working_dir = if rest.starts_with('/') {
                rest.to_owned()
            } else {
                format!("{}/{rest}", config.working_dir)
            };
        }
        _ => return Err(wrong("this instruction cannot be applied")),
    }
    Ok(())
}

/// A JSON list as it is, anything else by the shell.
fn command(text: &str) -> Vec<String> {
    json_list(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

fn json_list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

fn port_of(text: &str) -> Option<String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    port.parse::<u16>().ok()?;
    matches!(protocol, "tcp" | "udp" | "sctp").then(|| format!("{port}/{protocol}"))
}

/// `A=1 B="two words"`, or the older `A the rest`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let words = words(text);
    if !words.first()?.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace)?;
        return Some(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    words
        .iter()
        .map(|word| {
            word.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Words between blanks, with quotes and backslashes undone.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None | Some('"')) => word.extend(letters.next()),
            ('"' | '\'', None) => (quote, any) = (Some(letter), true),
            (letter, Some(open)) if letter == open => quote = None,
            (letter, None) if letter.is_whitespace() => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (letter, _) => word.push(letter),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_what_they_name() {
        let mut config = RunConfig::default();
        for instruction in [
            "CMD [\"sh\", \"-l\"]",
            "ENTRYPOINT run me",
            "ENV A=1 B=\"two words\"",
            "env A 3",
            "EXPOSE 80 53/udp",
            "LABEL a.b=c",
            "WORKDIR /srv",
            "WORKDIR app",
            "USER nobody",
        ] {
            apply(&mut config, instruction).unwrap();
        }
        assert_eq!(config.cmd.unwrap(), ["sh", "-l"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "run me"]);
        assert_eq!(config.env, ["B=two words", "A=3"]);
        assert_eq!(
            config.exposed_ports.keys().collect::<Vec<_>>(),
            ["53/udp", "80/tcp"]
        );
        assert_eq!(config.labels["a.b"], "c");
        assert_eq!(config.working_dir, "/srv/app");
        assert_eq!(config.user, "nobody");
    }

    #[test]
    fn an_instruction_that_cannot_be_applied_is_named() {
        let error = apply(&mut RunConfig::default(), "RUN true")
            .unwrap_err()
            .to_string();
        assert!(error.contains("RUN"), "{error}");
        assert!(apply(&mut RunConfig::default(), "EXPOSE http").is_err());
        assert!(apply(&mut RunConfig::default(), "CMD").is_err());
    }
}
