//! Other people's programs against ours, and ours against real programs: everything here runs
//! what it names, `helm`, `skopeo`, `podman`, nginx, python, from outside, by the command line.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod chart;
mod charts;
mod podman;
mod registry_image;
mod skopeo;
mod support;
mod walk;
