//! Panics of the simulated peers: tokio catches those of tasks, and none may go unseen.

use std::cell::RefCell;

thread_local! {
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// From here on, panics are kept for [`take`] besides being printed.
pub fn watch() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.to_string();
        // Fails only while the list is being taken or the thread ends.
        let _ = SEEN.try_with(|seen| seen.try_borrow_mut().map(|mut seen| seen.push(text)));
        print(info);
    }));
}

/// Panics of this thread since the last call.
#[must_use]
pub fn take() -> Vec<String> {
    SEEN.with(|seen| std::mem::take(&mut *seen.borrow_mut()))
}
