//! Which hierarchies there are.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Doing, Error},
    id::ContainerId,
};

/// The hierarchies of this machine, and the container's place in each.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// The v2 one last.
    pub(crate) hierarchies: Vec<Hierarchy>,
}

/// One hierarchy.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hierarchy {
    /// Where it is mounted.
    mount_point: PathBuf,
    /// Its controllers; of a named v1 hierarchy `name=NAME`.
    controllers: Vec<String>,
    /// Whether it is the v2 one.
    v2: bool,
    /// The container's folder.
    container: PathBuf,
}

impl Layout {
    /// Reads the machine's layout and places the container: an absolute `path` counts from each hierarchy's
    /// root, a relative one from the runtime's own cgroup, none stands for the id there.
    pub(crate) fn detect(path: Option<&str>, id: &ContainerId) -> Result<Self, Error> {
        let read = |file: &str| crate::files::read_text(file).doing(|| format!("read {file}"));
        let (mounts, own) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
        let layout = from_texts(&mounts, &own, path, id)?;
        if layout.hierarchies.is_empty() {
            return Err(Error::Other(
                "linux.cgroupsPath: no cgroup file system is mounted".to_owned(),
            ));
        }
        Ok(layout)
    }

    /// The v1 hierarchy with that controller.
    pub(crate) fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| !hierarchy.v2 && hierarchy.has(controller))
    }

    /// The v2 hierarchy.
    pub(crate) fn v2(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.v2)
    }
}

impl Hierarchy {
    /// Whether it is the v2 one.
    pub(crate) fn is_v2(&self) -> bool {
        self.v2
    }

    /// Where it is mounted.
    pub(crate) fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// The container's folder.
    pub(crate) fn container_path(&self) -> &Path {
        &self.container
    }

    /// Whether a v1 hierarchy has that controller.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }

    /// What its folder below `/sys/fs/cgroup` is called.
    pub(crate) fn mount_name(&self) -> String {
        let name = self
            .mount_point
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| self.controllers.join(","))
    }

    /// The other names that tools look for: each controller of a joint hierarchy.
    pub(crate) fn aliases(&self) -> impl Iterator<Item = &str> {
        let name = self.mount_name();
        let joint = self.controllers.len() > 1;
        self.controllers
            .iter()
            .map(String::as_str)
            .filter(move |controller| joint && *controller != name)
    }

    /// The options that mount it again.
    pub(crate) fn mount_options(&self) -> Vec<String> {
        if self.v2 {
            return Vec::new();
        }
        let named = self
            .controllers
            .iter()
            .any(|controller| controller.starts_with("name="));
        named
            .then(|| "none".to_owned())
            .into_iter()
            .chain(self.controllers.iter().cloned())
            .collect()
    }
}

fn from_texts(mounts: &str, own: &str, path: Option<&str>, id: &ContainerId) -> Result<Layout, Error> {
    let mut layout = Layout::default();
    for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        let Some(mut hierarchy) = parse_mount(line) else {
            continue;
        };
        let own_path = own.lines().find_map(|line| own_path(line, &hierarchy));
        let known = layout
            .hierarchies
            .iter()
            .any(|earlier| earlier.v2 == hierarchy.0.v2 && earlier.controllers == hierarchy.0.controllers);
        let Some(own_path) = own_path.filter(|_| !known) else {
            continue;
        };
        hierarchy.0.container = place(&hierarchy.0, &hierarchy.1, own_path, path, id)?;
        layout.hierarchies.push(hierarchy.0);
    }
    layout.hierarchies.sort_by_key(|hierarchy| hierarchy.v2);
    Ok(layout)
}

/// The hierarchy of a line of `mountinfo`, and which folder of it is mounted.
fn parse_mount(line: &str) -> Option<(Hierarchy, String)> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, mount_point) = (unescape(mount.next()?), unescape(mount.next()?));
    let mut file_system = file_system.split(' ');
    let v2 = match file_system.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let flags = [
        "rw",
        "ro",
        "xattr",
        "clone_children",
        "noprefix",
        "cpuset_v2_mode",
        "favordynmods",
    ];
    let options = file_system.nth(1)?.split(',');
    let options = options.filter(|option| !flags.contains(option) && !option.starts_with("release_agent="));
    let controllers = if v2 {
        Vec::new()
    } else {
        options.map(str::to_owned).collect()
    };
    let container = PathBuf::new();
    Some((
        Hierarchy {
            mount_point: mount_point.into(),
            controllers,
            v2,
            container,
        },
        root,
    ))
}

/// The runtime's own path in a hierarchy, from a line of `/proc/self/cgroup`.
fn own_path<'a>(line: &'a str, (hierarchy, _): &(Hierarchy, String)) -> Option<&'a str> {
    let (number, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let same = if hierarchy.v2 {
        number == "0" && controllers.is_empty()
    } else {
        controllers.split(',').any(|controller| hierarchy.has(controller))
    };
    same.then_some(path)
}

fn place(
    hierarchy: &Hierarchy,
    root: &str,
    own: &str,
    path: Option<&str>,
    id: &ContainerId,
) -> Result<PathBuf, Error> {
    let asked = path.unwrap_or(id.as_str());
    if asked.split('/').any(|part| part == "..") || asked.contains('\0') {
        return Err(Error::refused(
            "linux.cgroupsPath",
            format!("{asked:?} holds \"..\""),
        ));
    }
    if asked.split('/').all(|part| part.is_empty() || part == ".") {
        return Err(Error::refused(
            "linux.cgroupsPath",
            format!("{asked:?} is the root of the hierarchies"),
        ));
    }
    let mut place = hierarchy.mount_point.clone();
    if !asked.starts_with('/') {
        // What is mounted may be a folder of the hierarchy only.
        let own = own.strip_prefix(root).filter(|_| root != "/").unwrap_or(own);
        let mut own = Path::new(own.trim_start_matches('/'));
        if hierarchy.v2 {
            // A v2 folder with processes in it cannot give controllers to its children.
            own = own.parent().unwrap_or(Path::new(""));
        }
        place.push(own);
    }
    place.push(asked.trim_start_matches('/'));
    Ok(place)
}

/// Takes the octal escapes out of a path of `mountinfo`.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
25 23 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
28 25 0:25 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
29 25 0:24 / /elsewhere rw,relatime - cgroup cgroup rw,xattr,name=systemd
";
    const OWN: &str = "4:cpu,cpuacct:/user.slice\n1:name=systemd:/user.slice/x\n0::/user.slice/x\n";

    fn detect(path: Option<&str>) -> Vec<PathBuf> {
        let layout = from_texts(HYBRID, OWN, path, &"web".parse().unwrap()).unwrap();
        layout
            .hierarchies
            .iter()
            .map(|hierarchy| hierarchy.container.clone())
            .collect()
    }

    #[test]
    fn an_absolute_path_counts_from_the_root_of_each_hierarchy() {
        let expected = ["cpu,cpuacct", "systemd", "unified"].map(|name| format!("/sys/fs/cgroup/{name}/a/b"));
        assert_eq!(detect(Some("/a/b")), expected.map(PathBuf::from));
    }

    #[test]
    fn a_relative_one_counts_from_the_own_cgroup_and_none_is_the_id() {
        let expected = [
            "cpu,cpuacct/user.slice/web",
            "systemd/user.slice/x/web",
            "unified/user.slice/web",
        ];
        assert_eq!(
            detect(None),
            expected.map(|path| PathBuf::from(format!("/sys/fs/cgroup/{path}")))
        );
        assert_eq!(detect(Some("web")), detect(None));
    }

    #[test]
    fn a_path_that_leaves_or_is_the_root_is_refused() {
        for path in ["/../x", "a/../../b", "/", "", "/./"] {
            assert!(
                from_texts(HYBRID, OWN, Some(path), &"web".parse().unwrap()).is_err(),
                "{path:?}"
            );
        }
    }

    #[test]
    fn a_hierarchy_knows_how_to_be_mounted_again() {
        let layout = from_texts(HYBRID, OWN, None, &"web".parse().unwrap()).unwrap();
        assert_eq!(
            layout.hierarchies[0].aliases().collect::<Vec<_>>(),
            ["cpu", "cpuacct"]
        );
        assert_eq!(layout.hierarchies[1].mount_options(), ["none", "name=systemd"]);
        assert!(layout.v2().unwrap().mount_options().is_empty());
    }
}
