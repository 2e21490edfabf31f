//! One replica after another is killed in the middle of everything, fifty times, and started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use storage_tests::fleet::Fleet;

use super::ledger::Ledger;
use super::pusher::Crowd;
use super::sweep;

const KILLS: usize = 50;
const PUSHERS: u64 = 4;

/// For how long a phase is waited for; then the victim is killed in whatever it does.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What a replica can be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Idle,
    Read,
    Login,
    Start,
    Append,
    SinglePost,
    PartUpload,
    Tail,
    Finish,
    Complete,
    UploadRow,
    BlobRow,
    Manifest,
    ManifestCommit,
    Delete,
}

impl Phase {
    /// What is waited for, in turn.
    const WANTED: [Self; 10] = [
        Self::Start,
        Self::Append,
        Self::PartUpload,
        Self::Tail,
        Self::SinglePost,
        Self::Finish,
        Self::Complete,
        Self::BlobRow,
        Self::Manifest,
        Self::ManifestCommit,
    ];

    /// Tells by the first line of a request to the replica.
    fn of_request(line: &str) -> Self {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match method {
            "POST" if path.contains("digest=") => Self::SinglePost,
            "POST" if path.contains("/uploads/") => Self::Start,
            "PATCH" => Self::Append,
            "PUT" if path.contains("/uploads/") => Self::Finish,
            "PUT" => Self::Manifest,
            "DELETE" => Self::Delete,
            "GET" if path.starts_with("/token") => Self::Login,
            _ => Self::Read,
        }
    }

    /// Tells by a request of the replica to S3.
    fn of_call(call: &str) -> Self {
        let mut words = call.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match method {
            "PUT" if path.contains("partNumber=") => Self::PartUpload,
            "PUT" if path.contains("/uploads/") => Self::Tail,
            "PUT" => Self::Complete,
            "POST" if path.contains("uploadId=") => Self::Complete,
            "POST" => Self::PartUpload,
            "DELETE" => Self::Delete,
            _ => Self::Read,
        }
    }

    /// Tells by the last statement of an open transaction; `beside` says what requests are under way.
    fn of_statement(statement: &str, beside: &[Self]) -> Option<Self> {
        let about = |words: &[&str]| words.iter().any(|word| statement.contains(word));
        if about(&[
            "manifests",
            "tags",
            "manifest_blobs",
            "tag_history",
            "manifest_children",
        ]) {
            Some(Self::ManifestCommit)
        } else if about(&["INTO blobs", "repository_blobs", "FROM blobs"]) {
            Some(if beside.contains(&Self::Manifest) {
                Self::ManifestCommit
            } else {
                Self::BlobRow
            })
        } else if about(&["uploads"]) {
            Some(Self::UploadRow)
        } else {
            // BEGIN, COMMIT and the like say nothing of what they are for.
            None
        }
    }
}

/// Waits until a replica is in a phase, and a little longer, so that a phase is hit in its middle too.
async fn wait_for(fleet: &Fleet, victim: usize, wanted: Phase, turn: u64) {
    let (proxy, door) = (&fleet.proxy, fleet.replicas[victim].door());
    let seen = async {
        match wanted {
            Phase::PartUpload | Phase::Tail | Phase::Complete => {
                door.wait_for(|call| Phase::of_call(call) == wanted).await;
            }
            Phase::BlobRow => {
                // The row is written once S3 has completed the object.
                door.wait_for(|call| Phase::of_call(call) == Phase::Complete)
                    .await;
                while door
                    .in_flight()
                    .iter()
                    .any(|call| Phase::of_call(call) == Phase::Complete)
                {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            }
            Phase::ManifestCommit => {
                proxy
                    .wait_for(victim, |line| Phase::of_request(line) == Phase::Manifest)
                    .await;
                tokio::time::sleep(Duration::from_millis(2 + turn % 5)).await;
            }
            _ => {
                proxy
                    .wait_for(victim, |line| Phase::of_request(line) == wanted)
                    .await
            }
        }
        tokio::time::sleep(Duration::from_micros(turn * 379 % 3000)).await;
    };
    // A phase that nobody comes to in this time is not waited for any longer.
    let _ = tokio::time::timeout(PATIENCE, seen).await;
}

/// Says what a frozen replica was doing: each phase that something under way is in.
async fn phases(fleet: &Fleet, rows: &mut sqlx::postgres::PgConnection, victim: usize) -> Vec<Phase> {
    let asked = fleet.proxy.in_flight(victim);
    let mut phases: Vec<Phase> = asked.iter().map(|line| Phase::of_request(line)).collect();
    let statements = fleet.statements(rows, victim).await;
    let within: Vec<Phase> = statements
        .iter()
        .filter_map(|statement| Phase::of_statement(statement, &phases))
        .collect();
    phases.extend(within);
    let calls = fleet.replicas[victim].door().in_flight();
    phases.extend(calls.iter().map(|call| Phase::of_call(call)));
    if phases.is_empty() {
        phases.push(Phase::Idle);
    }
    phases.sort_unstable();
    phases.dedup();
    phases
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_in_the_middle_of_pushes_lose_nothing_and_leave_nothing() {
    let mut fleet = Fleet::three().await;
    let ledger = Arc::new(Ledger::default());
    let crowd = Crowd::of(PUSHERS, &fleet, &ledger);
    let mut rows = fleet.rows().await;
    let mut fell: BTreeMap<Phase, usize> = BTreeMap::new();
    for turn in 0..KILLS {
        let (victim, wanted) = (turn % 3, Phase::WANTED[turn % Phase::WANTED.len()]);
        wait_for(&fleet, victim, wanted, turn as u64).await;
        fleet.replicas[victim].freeze();
        for phase in phases(&fleet, &mut rows, victim).await {
            *fell.entry(phase).or_default() += 1;
        }
        fleet.kill(victim);
        fleet.start(victim).await;
    }
    let told = crowd.go_home().await;
    println!("{KILLS} kills fell in (one in several phases counts in each):");
    for (phase, kills) in &fell {
        println!("  {phase:<16?}{kills:>4}");
    }
    println!("{}; clients were told {told:?}", ledger.summary());
    let idle = fell.get(&Phase::Idle).copied().unwrap_or_default();
    assert!(
        idle < KILLS / 4,
        "{idle} of {KILLS} kills hit a replica that did nothing"
    );
    for any in [
        &[Phase::Append, Phase::SinglePost][..],
        &[Phase::PartUpload, Phase::Tail, Phase::Complete],
        &[Phase::Manifest, Phase::ManifestCommit],
    ] {
        assert!(
            any.iter().any(|phase| fell.contains_key(phase)),
            "no kill fell in any of {any:?}: {fell:?}"
        );
    }
    ledger.verify(&fleet).await;
    sweep::leaves_what_rows_name(&mut fleet, &mut rows, 3).await;
    ledger.verify(&fleet).await;
}
