//! A node whose program knows no doctor, and keeps no log.
use cardume_api::{ClientError, Code};

use crate::daemon::Daemon;

#[tokio::test]
async fn without_a_doctor_none_is_there_and_without_a_log_it_is_empty() {
    let daemon = Daemon::start().await;
    let error = daemon.client.examine().await.unwrap_err();
    let ClientError::Problem(problem) = error else {
        panic!("{error}")
    };
    assert_eq!(problem.code, Code::Unavailable);
    assert!(daemon.client.log(10).await.unwrap().is_empty());
    let mut lines = daemon.client.follow_log(10).await.unwrap();
    daemon.stop().await;
    // Its end is that of the daemon.
    assert!(lines.next().await.unwrap().is_err());
}
