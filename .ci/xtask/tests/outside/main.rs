//! Other people's programs against ours, and ours against real programs: everything here runs
//! what it names, `docker`, `ctr`, `podman`, `buildah`, `skopeo`, `helm`, nginx, python, from outside, by the command
//! line.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod artifacts;
mod buildah;
mod chart;
mod charts;
mod containerd;
mod docker;
mod logins;
mod many;
mod metrics;
mod partial;
mod podman;
mod registry_image;
mod skopeo;
mod support;
mod walk;
