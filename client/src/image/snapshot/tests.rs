//! Layers and snapshots: made, stacked, taken away.

use wharf_protocol::digest::Algorithm;

use super::*;

fn snapshots(folder: &tempfile::TempDir) -> Snapshots {
    Snapshots::of(&Store::open_at(folder.path().join("root"), folder.path().join("run")).unwrap())
}

fn layer(name: &str, parent: Option<&Digest>) -> Layer {
    let id = Digest::of(Algorithm::Sha256, name.as_bytes());
    Layer {
        chain_id: id.clone(),
        diff_id: id,
        parent: parent.cloned(),
        size_bytes: 1,
    }
}

#[test]
fn an_active_snapshot_becomes_a_layer_and_others_stand_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = snapshots(&folder);
    let (base, top) = (layer("base", None), layer("top", None));
    let top = Layer {
        parent: Some(base.chain_id.clone()),
        ..top
    };
    snapshots.prepare("layer-1", None, None).unwrap();
    fs::write(snapshots.files("layer-1").join("a"), "x").unwrap();
    snapshots.commit("layer-1", &base).unwrap();
    snapshots.prepare("layer-2", Some(&base.chain_id), None).unwrap();
    snapshots.commit("layer-2", &top).unwrap();
    assert_eq!(snapshots.layer(&base.chain_id).unwrap().unwrap(), base);
    let mount = snapshots
        .prepare("container", Some(&top.chain_id), Some(&top.diff_id))
        .unwrap();
    let Mount::Overlay {
        lower,
        upper: Some(_),
    } = &mount
    else {
        panic!("{mount:?}")
    };
    assert_eq!(
        lower,
        &[
            snapshots.layer_files(&top.chain_id),
            snapshots.layer_files(&base.chain_id)
        ]
    );
    assert_eq!(snapshots.mounts("container").unwrap(), mount);
    assert_eq!(snapshots.list().unwrap().len(), 1);
    snapshots.remove("container").unwrap();
    snapshots.remove("container").unwrap();
    assert!(snapshots.list().unwrap().is_empty());
}

#[test]
fn a_missing_parent_a_taken_key_and_a_path_as_key_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = snapshots(&folder);
    let nowhere = layer("nowhere", None).chain_id;
    assert_eq!(
        snapshots.prepare("k", Some(&nowhere), None).unwrap_err().kind(),
        Kind::Damaged
    );
    snapshots.prepare("k", None, None).unwrap();
    assert_eq!(
        snapshots.prepare("k", None, None).unwrap_err().kind(),
        Kind::Conflict
    );
    for key in ["", "..", "a/b", ".hidden"] {
        assert_eq!(
            snapshots.prepare(key, None, None).unwrap_err().kind(),
            Kind::BadArguments,
            "{key}"
        );
    }
}

#[test]
fn a_layer_that_somebody_else_made_meanwhile_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = snapshots(&folder);
    let base = layer("base", None);
    for key in ["layer-1", "layer-2"] {
        snapshots.prepare(key, None, None).unwrap();
        snapshots.commit(key, &base).unwrap();
    }
    assert_eq!(snapshots.layers().unwrap(), [base.chain_id]);
    assert!(names(&snapshots.snapshots).unwrap().is_empty());
}
