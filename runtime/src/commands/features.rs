//! `features`: what this runtime carries out, and nothing else.

use serde_json::json;

use crate::{capabilities, error::Error, plan, seccomp, state::SPEC_VERSION};

/// Prints the features.
pub(super) fn features() -> Result<u8, Error> {
    let namespaces: Vec<&str> = plan::KINDS.iter().map(|(name, _, _)| *name).collect();
    let features = json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": plan::mount_options(),
        "linux": {
            "namespaces": namespaces,
            "capabilities": capabilities::NAMES.as_slice(),
            "cgroup": {
                "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": false,
            },
            "seccomp": {
                "enabled": true,
                "actions": seccomp::ACTIONS.iter().filter(|action| **action != "SCMP_ACT_NOTIFY").collect::<Vec<_>>(),
                "operators": seccomp::OPERATORS,
                "archs": seccomp::ARCHITECTURES,
                "knownFlags": seccomp::FLAGS,
                "supportedFlags": seccomp::FLAGS,
            },
            "apparmor": {"enabled": false},
            "selinux": {"enabled": false},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": false}},
            "netDevices": {"enabled": false},
        },
        "annotations": {
            "org.opencontainers.runc.checkpoint.enabled": "false",
        },
    });
    let text = serde_json::to_string_pretty(&features);
    super::print(&format!(
        "{}\n",
        text.map_err(|error| Error::Other(format!("print the features: {error}")))?
    ))
}
