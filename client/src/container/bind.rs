//! What `-v` says.

use std::path::{Component, Path, PathBuf};

use super::state::Bind;
use crate::error::{Error, Kind, Result};

/// Reads `SOURCE:TARGET[:OPTIONS]`; a source that begins with a dot is below `here`.
///
/// # Errors
/// Docker's words for what cannot be; volumes with names or without are refused by name.
pub fn parse(text: &str, here: &Path) -> Result<Bind> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match *parts.as_slice() {
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        [target] => {
            return Err(Error::new(
                Kind::Unsupported,
                format!("-v {target}: anonymous volumes are not supported yet"),
            )
            .hint("Name a folder of this machine: -v /FOLDER:/IN/THE/CONTAINER"));
        }
        _ => return Err(invalid(text, "")),
    };
    let mount = |problem: String| {
        invalid(
            text,
            &format!(": invalid mount config for type \"bind\": {problem}"),
        )
    };
    let source = source_path(source, here)?;
    let target = PathBuf::from(target);
    if !target.is_absolute() {
        return Err(mount(format!(
            "invalid mount path: '{}' mount path must be absolute",
            target.display()
        )));
    }
    let target = clean(&target);
    if target == Path::new("/") {
        return Err(mount(
            "invalid specification: destination can't be '/'".to_owned(),
        ));
    }
    let mut bind = Bind {
        source,
        target,
        read_only: false,
        propagation: None,
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => bind.read_only = true,
            // Labels and caches of other systems: nothing to do here.
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "private" | "rprivate" | "slave" | "rslave" => bind.propagation = Some(option.to_owned()),
            "shared" | "rshared" => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!(
                        "-v {text}: mounts that are made in a container are not shared with this machine yet"
                    ),
                ));
            }
            _ => {
                return Err(Error::engine(
                    Kind::BadArguments,
                    format!("invalid mode: {options}"),
                ));
            }
        }
    }
    Ok(bind)
}

/// Refuses two mounts on one place.
///
/// # Errors
/// Docker's words.
pub fn refuse_duplicates(binds: &[Bind]) -> Result<()> {
    for (at, bind) in binds.iter().enumerate() {
        if binds.iter().skip(at + 1).any(|other| other.target == bind.target) {
            let text = format!("Duplicate mount point: {}", bind.target.display());
            return Err(Error::engine(Kind::BadArguments, text));
        }
    }
    Ok(())
}

fn invalid(text: &str, problem: &str) -> Error {
    Error::engine(
        Kind::BadArguments,
        format!("invalid volume specification: '{text}'{problem}"),
    )
}

fn source_path(source: &str, here: &Path) -> Result<PathBuf> {
    let path = Path::new(source);
    if path.is_absolute() {
        return Ok(clean(path));
    }
    if source.starts_with('.') {
        return Ok(clean(&here.join(path)));
    }
    if super::is_valid_name(source) {
        return Err(Error::new(
            Kind::Unsupported,
            format!("-v {source}:…: named volumes are not supported yet"),
        )
        .hint("Name a folder of this machine: -v /FOLDER:/IN/THE/CONTAINER"));
    }
    Err(Error::engine(
        Kind::BadArguments,
        format!(
            "create {source}: \"{source}\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        ),
    ))
}

/// The path without `.` and `..`, by its text alone.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(part) => cleaned.push(part),
            Component::ParentDir => {
                cleaned.pop();
            }
            _ => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_read_and_the_rest_is_refused() {
        let here = Path::new("/here");
        let bind = parse("/a/../b:/x:ro,rslave", here).unwrap();
        assert_eq!(
            (bind.source.as_path(), bind.target.as_path()),
            (Path::new("/b"), Path::new("/x"))
        );
        assert!(bind.read_only && bind.propagation.as_deref() == Some("rslave"));
        assert_eq!(parse("./data:/x", here).unwrap().source, Path::new("/here/data"));
        for (text, says) in [
            ("/tmp:x", "mount path must be absolute"),
            ("/tmp:/x:bogus", "invalid mode: bogus"),
            ("/tmp:/", "destination can't be '/'"),
            ("rel/ative:/x", "includes invalid characters"),
            ("data:/x", "named volumes are not supported yet"),
            ("/data", "anonymous volumes are not supported yet"),
            ("/tmp:/x:shared", "not shared"),
            ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        ] {
            let error = parse(text, here).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
