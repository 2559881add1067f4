//! Which process a connection of this machine belongs to (Linux).

use std::fs;

/// The process, of these, whose socket is bound to `local` and connected to `remote`.
pub(crate) fn of_connection(
    local: u16,
    remote: u16,
    pids: impl Iterator<Item = u32>,
) -> Option<u32> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port =
            |field: usize| u16::from_str_radix(fields.get(field)?.split(':').nth(1)?, 16).ok();
        (port(1) == Some(local) && port(2) == Some(remote)).then(|| fields.get(9).copied())?
    })?;
    let name = format!("socket:[{inode}]");
    pids.into_iter().find(|pid| holds(*pid, &name))
}

fn holds(pid: u32, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut links = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok());
    links.any(|link| link.as_os_str() == socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_this_process_is_found_to_be_its_own() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let local = stream.local_addr().unwrap().port();
        let own = std::process::id();
        assert_eq!(of_connection(local, port, [1, own].into_iter()), Some(own));
        assert_eq!(of_connection(local, port, [].into_iter()), None);
    }
}
