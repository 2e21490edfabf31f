//! `linux.resources` as values of files, written where the controller is.

use rustix::io::Errno;

use super::{Layout, devices, v1, v2, write};
use crate::{
    error::{Doing, Error},
    spec::resources::Resources,
};

/// One file to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The field it comes from.
    pub(super) field: &'static str,
    /// The controller it needs.
    pub(super) controller: &'static str,
    /// Name in the container's folder.
    pub(super) file: String,
    /// Its content.
    pub(super) value: String,
}

impl Setting {
    pub(super) fn new(
        field: &'static str,
        controller: &'static str,
        file: impl Into<String>,
        value: impl ToString,
    ) -> Self {
        Self {
            field,
            controller,
            file: file.into(),
            value: value.to_string(),
        }
    }
}

/// Writes the limits and the rules for devices. What the machine has no controller for is an error.
pub(crate) fn apply(
    layout: &Layout,
    resources: Option<&Resources<'_>>,
    devices_too: bool,
) -> Result<(), Error> {
    if let Some(resources) = resources {
        check_controllers(layout, resources)?;
        let settings = v1::settings(resources)?;
        let raises_swap = settings
            .iter()
            .any(|setting| setting.file == "memory.memsw.limit_in_bytes");
        let mut late = None;
        for setting in &settings {
            let Some(hierarchy) = layout.v1(setting.controller) else {
                continue;
            };
            match put(setting, hierarchy.container_path().join(&setting.file)) {
                // Memory alone cannot be raised above memory and swap together: then those come first.
                Err(Error::System {
                    errno: Errno::INVAL, ..
                }) if setting.file == "memory.limit_in_bytes" && raises_swap => {
                    late = Some((setting, hierarchy));
                }
                other => other?,
            }
        }
        if let Some((setting, hierarchy)) = late {
            put(setting, hierarchy.container_path().join(&setting.file))?;
        }
        if let Some(hierarchy) = layout.v2() {
            for setting in v2::settings(resources)? {
                if layout.v1(setting.controller).is_none() {
                    put(&setting, hierarchy.container_path().join(&setting.file))?;
                }
            }
            v2::unified(hierarchy, &resources.unified)?;
        } else if let Some((name, _)) = resources.unified.first_key_value() {
            let field = format!("linux.resources.unified[{:?}]", &**name);
            return Err(Error::refused(field, "this machine has no cgroup v2"));
        }
    }
    if !devices_too {
        return Ok(());
    }
    let rules = devices::rules(resources)?;
    match (layout.v1("devices"), layout.v2()) {
        (Some(hierarchy), _) => devices::write_v1(hierarchy, &rules),
        (None, Some(hierarchy)) => super::ebpf::replace(hierarchy, &rules),
        (None, None) => Err(Error::Other(
            "linux.resources.devices: there is no devices controller".to_owned(),
        )),
    }
}

fn put(setting: &Setting, path: std::path::PathBuf) -> Result<(), Error> {
    let Setting {
        field,
        controller,
        value,
        ..
    } = setting;
    let shown = path.display().to_string();
    write(path, value).doing(|| format!("{field}: {controller} controller: write {value:?} to {shown}"))
}

fn check_controllers(layout: &Layout, resources: &Resources<'_>) -> Result<(), Error> {
    let mut needed: Vec<(&str, &str)> = Vec::new();
    needed.extend(
        v1::settings(resources)?
            .iter()
            .map(|setting| (setting.field, setting.controller)),
    );
    needed.extend(
        v2::settings(resources)?
            .iter()
            .map(|setting| (setting.field, setting.controller)),
    );
    let mut unified: Option<Vec<String>> = None;
    for (field, controller) in needed {
        if layout.v1(controller).is_some() {
            continue;
        }
        let unified = unified.get_or_insert_with(|| v2::controllers(layout));
        if !unified.iter().any(|known| known == controller) {
            return Err(Error::refused(
                field,
                format!("this machine has no {controller} controller"),
            ));
        }
    }
    Ok(())
}
