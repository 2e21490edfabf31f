//! What the tests stand on.

pub(crate) mod bucket;
pub(crate) mod certificate;
pub(crate) mod cgroup;
pub(crate) mod chart;
pub(crate) mod containerd;
pub(crate) mod images;
pub(crate) mod layout;
pub(crate) mod machine;
pub(crate) mod programs;
pub(crate) mod registry;
pub(crate) mod tap;
