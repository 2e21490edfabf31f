//! Replicas that are asked to end while clients go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use storage_tests::fleet::{Fleet, Plan};

/// How long a replica serves on after it has said that it is not ready: what a balancer has to take it out.
const DELAY: &str = "stop_delay = \"2s\"\n";

/// Every 50 ms the proxy looks who is ready, as balancers do. Each replica in turn is asked to end, ends well, and is
/// started again, while four clients push and pull; none of their requests is sent twice, and each is answered.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_end_one_after_another_under_load_lose_no_request() {
    let mut fleet = Plan::new().await.settings(DELAY).start(3).await;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (admin, stop, count) = (fleet.admin(), Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = count.fetch_add(1, Ordering::Relaxed);
                    let (name, tag) = (format!("team/{client}"), format!("t{number}"));
                    let manifest = admin.push_image(&name, &tag, number).await;
                    let got = admin
                        .get(&format!("/v2/{name}/manifests/{tag}"))
                        .await
                        .expect(200);
                    assert!(got.body == manifest);
                }
            })
        })
        .collect();
    for index in 0..3 {
        let before = count.load(Ordering::Relaxed);
        while count.load(Ordering::Relaxed) < before + 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ends_well(&mut fleet, index).await;
        fleet.start(index).await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("every request is answered");
    }
    let images = count.load(Ordering::Relaxed);
    println!("three replicas ended and came back while {images} images were pushed and pulled");
    assert!(images > 24);
}

/// Asks a replica to end. Readiness goes first: while it still takes requests, it says that it should get none.
async fn ends_well(fleet: &mut Fleet, index: usize) {
    let direct = fleet.admin_at(index);
    fleet.replicas[index].terminate();
    while direct.get("/readyz").await.status == 200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let _ = direct.get("/readyz").await.expect(503);
    let _ = direct.get("/v2/").await.expect(200);
    fleet.proxy.take_out(index);
    let ended = fleet.replicas[index].wait().await;
    assert!(ended.success, "{}", ended.log);
}
