//! The long-running tasks of a peer: each has a name, all stop together, none is leaked.

use std::{future::Future, time::Duration};

use tokio::{sync::watch, task::JoinSet};

/// Owns the tasks. Dropping it aborts them.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    /// Have something to finish.
    listening: JoinSet<&'static str>,
    /// Can be cut off at any point.
    others: JoinSet<&'static str>,
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

/// Resolves with what is told through a channel that is empty until then; never, if nothing is.
/// Cancel-safe.
pub(crate) async fn told<T: Clone>(mut news: watch::Receiver<Option<T>>) -> T {
    match news
        .wait_for(Option::is_some)
        .await
        .map(|told| told.clone())
    {
        Ok(Some(told)) => told,
        // The sender is gone.
        _ => std::future::pending().await,
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
            listening: JoinSet::new(),
            others: JoinSet::new(),
        }
    }

    /// Starts a task that can be cut off at any point: it is aborted at shutdown.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.others.spawn(async move {
            task.await;
            name
        });
    }

    /// Starts a task that ends by itself, and in order, when the peer stops.
    pub fn spawn_until<T>(&mut self, name: &'static str, task: impl FnOnce(Stop) -> T)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        let task = task(Stop(self.stop.subscribe()));
        self.listening.spawn(async move {
            task.await;
            name
        });
    }

    /// Resolves when a task ends on its own, which none should: the peer must stop then.
    /// Never resolves while there are no tasks.
    pub async fn ended(&mut self) -> Ended {
        let ended = tokio::select! {
            biased;
            Some(ended) = self.listening.join_next() => ended,
            Some(ended) = self.others.join_next() => ended,
            else => std::future::pending().await,
        };
        match ended {
            Ok(name) => Ended(name.to_owned()),
            Err(e) => Ended(e.to_string()),
        }
    }

    /// Asks the tasks that listen to end, aborts those that have not after `patience`, and the
    /// others last.
    pub async fn shutdown(mut self, patience: Duration) {
        self.stop.send_replace(true);
        let all = async { while self.listening.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::debug!(
                left = self.listening.len(),
                "aborting tasks that did not stop"
            );
            self.listening.shutdown().await;
        }
        self.others.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_that_listen_finish_and_those_that_do_not_are_aborted() {
        let mut workers = Workers::new();
        let (tx, mut finished) = tokio::sync::mpsc::channel(1);
        workers.spawn_until("polite", |mut stop| async move {
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
        workers.spawn_until("broken", |_| async { panic!("on purpose") });
        assert!(workers.ended().await.0.contains("panic"));
    }
}
