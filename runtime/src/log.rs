//! Where errors and warnings go: the caller's log file in the caller's format, and stderr.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use crate::{clock, error::Error};

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "levels")]
pub enum Level {
    Debug,
    Warning,
    Error,
}

/// A log.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    format: Format,
    debug: bool,
}

impl Log {
    /// Opens the file, if there is one, to append to.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: Option<&Path>, format: Format, debug: bool) -> Result<Self, Error> {
        let open = |path: &Path| {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o644)
                .open(path);
            file.map_err(|error| Error::Other(format!("--log: open {}: {error}", path.display())))
        };
        Ok(Self {
            file: path.map(open).transpose()?,
            format,
            debug,
        })
    }

    /// Writes a line. Errors are shown on stderr too, since callers read both.
    pub fn write(&mut self, level: Level, message: &str) {
        if level == Level::Debug && !self.debug {
            return;
        }
        let line = line(self.format, level, message, &clock::now());
        // A log that cannot be written must not keep a container from being made or ended.
        let _ = match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
        if level == Level::Error && self.file.is_some() {
            let _ = writeln!(std::io::stderr(), "{message}");
        }
    }
}

fn line(format: Format, level: Level, message: &str, time: &str) -> String {
    let level = match level {
        Level::Debug => "debug",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let message = serde_json::Value::from(message);
    match format {
        Format::Json => format!("{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}\n"),
        Format::Text => format!("time=\"{time}\" level={level} msg={message}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_is_json_whatever_the_message_holds() {
        let text = line(Format::Json, Level::Error, "a \"b\"\n\u{1}", "T");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (value["level"].as_str(), value["msg"].as_str()),
            (Some("error"), Some("a \"b\"\n\u{1}"))
        );
        assert_eq!(text.matches('\n').count(), 1);
    }
}
