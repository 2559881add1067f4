//! What systemd is told, when it started the peer with `Type=notify`.

use sd_notify::NotifyState;

/// The peer serves.
pub(super) fn ready() {
    tell(NotifyState::Ready);
}

/// The peer was asked to stop.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Does nothing where no socket is named.
fn tell(state: NotifyState<'_>) {
    if let Err(e) = sd_notify::notify(&[state]) {
        tracing::warn!(error = %e, "systemd could not be told; NOTIFY_SOCKET names its socket");
    }
}
