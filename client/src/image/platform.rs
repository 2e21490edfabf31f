//! Which of an index's images is for which machine.

use wharf_protocol::manifest::{Descriptor, Platform};

use crate::error::{Error, Kind, Result};

/// The platform of this machine.
pub fn this_machine() -> Platform {
    let variant = (crate::ARCHITECTURE == "arm64").then(|| "v8".to_owned());
    Platform {
        architecture: crate::ARCHITECTURE.to_owned(),
        os: "linux".to_owned(),
        variant,
        os_version: None,
    }
}

/// Reads `os[/arch[/variant]]` or an architecture alone.
///
/// # Errors
/// A text that is neither.
pub fn parse(text: &str) -> Result<Platform> {
    let mut parts = text.split('/');
    let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let good = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    if parts.next().is_some() || !good(first) || second.is_some_and(|part| !good(part)) {
        return Err(Error::new(
            Kind::BadArguments,
            format!("\"{text}\" is an invalid platform: expected os[/arch[/variant]]"),
        ));
    }
    let (os, architecture) = match second {
        Some(architecture) => (first, architecture),
        None if matches!(first, "linux" | "windows" | "darwin" | "freebsd") => (first, crate::ARCHITECTURE),
        None => ("linux", first),
    };
    let (architecture, own_variant) = match architecture.to_lowercase().as_str() {
        "x86_64" | "x86-64" => ("amd64".to_owned(), None),
        "aarch64" | "arm64" => ("arm64".to_owned(), Some("v8")),
        "armhf" => ("arm".to_owned(), Some("v7")),
        "armel" => ("arm".to_owned(), Some("v6")),
        "i386" => ("386".to_owned(), None),
        other => (other.to_owned(), None),
    };
    let variant = third.or(own_variant).map(str::to_owned);
    Ok(Platform {
        architecture,
        os: os.to_lowercase(),
        variant,
        os_version: None,
    })
}

/// A platform as people write it.
pub fn shown(platform: &Platform) -> String {
    let variant = platform
        .variant
        .as_ref()
        .map(|variant| format!("/{variant}"))
        .unwrap_or_default();
    format!("{}/{}{variant}", platform.os, platform.architecture)
}

/// The image of an index for a platform: the same system and architecture, and the best variant that the
/// platform can run.
pub fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let fitting = manifests.iter().filter_map(|descriptor| {
        let offered = descriptor.platform.as_ref()?;
        rank(offered, wanted).map(|rank| (rank, descriptor))
    });
    // The first of equals: an index lists what its maker prefers first.
    let mut best: Option<(u32, &Descriptor)> = None;
    for (rank, descriptor) in fitting {
        if best.is_none_or(|(known, _)| rank > known) {
            best = Some((rank, descriptor));
        }
    }
    best.map(|(_, descriptor)| descriptor).or(match manifests {
        [only] if only.platform.is_none() => Some(only),
        _ => None,
    })
}

/// How well an image for one platform runs on another: more is better, `None` not at all.
pub(crate) fn rank(offered: &Platform, wanted: &Platform) -> Option<u32> {
    if offered.os != wanted.os || offered.architecture != wanted.architecture {
        return None;
    }
    let level = |platform: &Platform| {
        let variant = platform
            .variant
            .as_deref()
            .unwrap_or(match platform.architecture.as_str() {
                "arm64" => "v8",
                "arm" => "v7",
                _ => "v1",
            });
        variant
            .trim_start_matches('v')
            .split('.')
            .next()
            .and_then(|level| level.parse::<u32>().ok())
            .unwrap_or(1)
    };
    let (offered, wanted) = (level(offered), level(wanted));
    (offered <= wanted).then_some(offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(platform: Option<&str>) -> Descriptor {
        Descriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".parse().unwrap(),
            digest: wharf_protocol::digest::Digest::of(
                wharf_protocol::digest::Algorithm::Sha256,
                platform.unwrap_or_default().as_bytes(),
            ),
            size: 1,
            urls: Vec::new(),
            artifact_type: None,
            annotations: std::collections::BTreeMap::new(),
            platform: platform.map(|text| parse(text).unwrap()),
        }
    }

    #[test]
    fn the_best_variant_that_runs_is_chosen_and_none_that_does_not() {
        let index: Vec<Descriptor> = [
            "linux/arm/v5",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/amd64",
            "windows/amd64",
            "unknown/unknown",
        ]
        .iter()
        .map(|platform| descriptor(Some(platform)))
        .collect();
        let chosen = |wanted: &str| {
            choose(&index, &parse(wanted).unwrap())
                .map(|descriptor| shown(descriptor.platform.as_ref().unwrap()))
        };
        assert_eq!(chosen("linux/amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(chosen("linux/arm/v6").as_deref(), Some("linux/arm/v6"));
        assert_eq!(chosen("armhf").as_deref(), Some("linux/arm/v7"));
        assert_eq!(chosen("linux/s390x"), None);
        assert!(choose(&[descriptor(None)], &this_machine()).is_some());
    }
}
