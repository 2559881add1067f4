//! Signals: the first asks to stop, the second warns, the third ends the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// INT, TERM and HUP, counted together.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Caught, so that a write beyond the process's limit on files is an error like that of a full
    /// disk, and not its end.
    _file_too_large: Signal,
}

/// SIGXFSZ.
const FILE_TOO_LARGE: i32 = 25;

impl Signals {
    /// From now on signals do not end the process by themselves.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            _file_too_large: signal(SignalKind::from_raw(FILE_TOO_LARGE))?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) {
        let name = tokio::select! {
            biased;
            _ = self.interrupt.recv() => "INT",
            _ = self.terminate.recv() => "TERM",
            _ = self.hangup.recv() => "HUP",
        };
        tracing::info!(signal = name, "asked to stop");
    }

    /// After the first: warns of the second and returns at the third.
    pub(super) async fn third(&mut self) {
        self.next().await;
        tracing::warn!("the peer is shutting down; one more signal ends it at once");
        self.next().await;
    }
}
