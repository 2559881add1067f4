//! The long-running tasks of a peer: each has a name, all stop together, none is leaked.

use std::{future::Future, time::Duration};

use tokio::{sync::watch, task::JoinSet};

/// Owns the tasks. Dropping it aborts them.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<&'static str>,
}

/// Tells a task that it shall end.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves when the peer stops. Cancel-safe.
    pub async fn stopped(&mut self) {
        // An error means that the owner is gone, which is a stop too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// A task ended although nobody asked it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {0} task ended unexpectedly")]
pub struct Ended(pub String);

impl Default for Workers {
    fn default() -> Self {
        Self::new()
    }
}

impl Workers {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stop: watch::channel(false).0,
            tasks: JoinSet::new(),
        }
    }

    /// For tasks that have something to finish when the peer stops.
    #[must_use]
    pub fn stop(&self) -> Stop {
        Stop(self.stop.subscribe())
    }

    /// Starts a task. One that ignores [`Stop`] is aborted at shutdown.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            task.await;
            name
        });
    }

    /// Resolves when a task ends on its own, which none should: the peer must stop then.
    /// Never resolves while there are no tasks.
    pub async fn ended(&mut self) -> Ended {
        match self.tasks.join_next().await {
            Some(Ok(name)) => Ended(name.to_owned()),
            Some(Err(e)) => Ended(e.to_string()),
            None => std::future::pending().await,
        }
    }

    /// Asks every task to end, and aborts those that have not after `patience`.
    pub async fn shutdown(mut self, patience: Duration) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::debug!(left = self.tasks.len(), "aborting tasks that did not stop");
            self.tasks.shutdown().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_that_listen_finish_and_those_that_do_not_are_aborted() {
        let mut workers = Workers::new();
        let (tx, mut finished) = tokio::sync::mpsc::channel(1);
        let mut stop = workers.stop();
        workers.spawn("polite", async move {
            stop.stopped().await;
            tx.send(()).await.unwrap();
        });
        workers.spawn("deaf", std::future::pending());
        workers.shutdown(Duration::from_secs(1)).await;
        assert_eq!(finished.recv().await, Some(()));
    }

    #[tokio::test]
    async fn a_task_that_ends_or_panics_is_noticed() {
        let mut workers = Workers::new();
        workers.spawn("short", async {});
        assert_eq!(workers.ended().await, Ended("short".into()));
        workers.spawn("broken", async { panic!("on purpose") });
        assert!(workers.ended().await.0.contains("panic"));
    }
}
