//! The daemon's own doctor, for who asks for it on the page or by the API.
use std::{path::Path, sync::Arc};

use cardume_api::{Diagnosis, client::Address};
use cardume_node::Doctor;
use futures::FutureExt as _;
use tokio::{runtime::Handle, sync::Semaphore};

use super::examine;
use crate::{arguments::Global, reach::Reach};

/// A doctor that examines this process as the daemon that listens at `socket`.
pub(crate) fn of_daemon(reach: Reach<'_>, socket: &Path) -> Doctor {
    let global = Global {
        api: Some(Address::Unix(socket.to_path_buf()).to_string()),
        ..reach.global.clone()
    };
    let given = Arc::new((global, reach.environment.clone(), reach.out.clone()));
    // One at a time: it reads much and waits long, and a second one would find the same.
    let turn = Arc::new(Semaphore::new(1));
    Doctor::new(Arc::new(move || {
        let (given, turn) = (given.clone(), turn.clone());
        async move {
            let turn = turn.acquire_owned().await.expect("it is never closed");
            // It reads files and runs a program, for which no task of the node may wait.
            let looking = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let (global, environment, out) = &*given;
                let reach = Reach {
                    global,
                    environment,
                    out,
                };
                Handle::current()
                    .block_on(examine(reach, Some(std::process::id())))
                    .0
            });
            looking.await.unwrap_or_else(|_| failed())
        }
        .boxed()
    }))
}

/// What is told when an examination itself has failed.
fn failed() -> Diagnosis {
    let remedy = "run `cardume doctor` on the node's own machine, and read its log";
    let finding = cardume_api::Finding::wrong("doctor", "the examination itself failed", remedy);
    Diagnosis {
        healthy: false,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        daemon: true,
        data_dir: String::new(),
        findings: vec![finding],
    }
}
