//! Jobs.

use super::at;
use crate::backends::rows::RowsUnderTest;

/// One worker has a job until it finishes it or its time is up.
pub async fn a_job_is_done_by_one_at_a_time(store: RowsUnderTest) {
    let rows = store.rows();
    rows.add_job("sweep", "later", at(20)).await.unwrap();
    rows.add_job("sweep", "now", at(10)).await.unwrap();
    rows.add_job("other", "other", at(0)).await.unwrap();
    let take = async |worker: &str, seconds: i64| {
        rows.take_job("sweep", worker, at(seconds), at(seconds + 100))
            .await
            .unwrap()
    };
    assert_eq!(take("w1", 9).await, None);
    let job = take("w1", 30).await.unwrap();
    assert_eq!(
        (job.payload.as_str(), job.kind.as_str(), job.attempts),
        ("now", "sweep", 1)
    );
    let later = take("w2", 30).await.unwrap();
    assert_eq!(later.payload, "later");
    assert_eq!(take("w3", 129).await, None);
    let again = take("w3", 130).await.unwrap();
    assert_eq!((again.id, again.attempts), (job.id, 2));
    assert!(!rows.finish_job(job.id, "w1", None).await.unwrap());
    assert!(rows.finish_job(job.id, "w3", None).await.unwrap());
    assert!(!rows.finish_job(job.id, "w3", None).await.unwrap());
}

/// A job that is put off comes again, as if it were new.
pub async fn a_job_put_off_comes_again(store: RowsUnderTest) {
    let rows = store.rows();
    rows.add_job("sweep", "", at(0)).await.unwrap();
    let job = rows
        .take_job("sweep", "w", at(1), at(100))
        .await
        .unwrap()
        .unwrap();
    assert!(rows.finish_job(job.id, "w", Some(at(50))).await.unwrap());
    assert_eq!(rows.take_job("sweep", "w", at(49), at(100)).await.unwrap(), None);
    let again = rows
        .take_job("sweep", "v", at(50), at(100))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((again.id, again.attempts), (job.id, 1));
}

/// Workers that ask at the same time get each another job.
pub async fn workers_at_once_get_different_jobs(store: RowsUnderTest) {
    let rows = store.rows();
    for number in 0..8 {
        rows.add_job("sweep", &number.to_string(), at(0)).await.unwrap();
    }
    let mut taken: Vec<String> = futures_util::future::join_all((0..8).map(async |worker: i32| {
        let job = rows
            .take_job("sweep", &worker.to_string(), at(1), at(100))
            .await
            .unwrap();
        job.unwrap().payload
    }))
    .await;
    taken.sort();
    assert_eq!(taken, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}
