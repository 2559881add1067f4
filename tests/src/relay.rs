//! A TCP relay whose weather a test makes. Peers advertise relays instead of themselves, so every
//! connection between two of them passes one.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weather {
    /// They pass.
    #[default]
    Fair,
    /// They pass, each so much later.
    Delay(Duration),
    /// They pass, so many per second in each direction of each connection.
    Throttle(u64),
    /// They stay: connections are open and silent, as behind a cable that was pulled.
    Stopped,
    /// Connections are reset, and new ones too.
    Cut,
}

/// Bytes taken at once.
const PIECE: usize = 16 * 1024;

/// A listener on loopback that passes connections on. Stops when dropped.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    weather: watch::Sender<Weather>,
    target: watch::Sender<Option<u16>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Listens; connections are refused until the target is known.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let weather = watch::Sender::new(Weather::Fair);
        let target = watch::Sender::new(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, weather.clone(), target.clone()));
        Ok(Self {
            port,
            weather,
            target,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where connections go from now on.
    pub fn lead_to(&self, port: u16) {
        self.target.send_replace(Some(port));
    }

    /// Changes the weather, for open connections too.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn accept(
    listener: TcpListener,
    weather: watch::Sender<Weather>,
    target: watch::Sender<Option<u16>>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            // Those that ended make room.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((near, _)) => {
                    let port = *target.borrow();
                    connections.spawn(pass(near, port, weather.subscribe()));
                }
                Err(_) => return,
            },
        }
    }
}

/// One connection, until either side ends or the weather cuts it.
async fn pass(mut near: TcpStream, port: Option<u16>, mut weather: watch::Receiver<Weather>) {
    let Some(port) = port.filter(|_| *weather.borrow() != Weather::Cut) else {
        reset(&near);
        return;
    };
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else {
        reset(&near);
        return;
    };
    // Small frames are the rule; a socket that refuses still works.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let sky = weather.clone();
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    let cut = tokio::select! {
        biased;
        _ = weather.wait_for(|w| *w == Weather::Cut) => true,
        () = flow(near_read, far_write, sky.clone()) => false,
        () = flow(far_read, near_write, sky) => false,
    };
    if cut {
        reset(&near);
        reset(&far);
    }
}

/// The connection will end with a reset instead of a goodbye.
fn reset(stream: &TcpStream) {
    // A socket that is gone already needs none.
    let _ = stream.set_zero_linger();
}

/// Bytes in one direction, until the sender says goodbye or either side breaks.
async fn flow(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
) {
    let mut piece = vec![0; PIECE];
    loop {
        let Ok(n @ 1..) = from.read(&mut piece).await else {
            return;
        };
        let arrived = Instant::now();
        let now = match weather.wait_for(|w| *w != Weather::Stopped).await {
            Ok(now) => *now,
            Err(_) => return,
        };
        match now {
            Weather::Delay(delay) => sleep_until(arrived + delay).await,
            Weather::Throttle(rate) => {
                let nanos = n as u64 * 1_000_000_000 / rate.max(1);
                sleep(Duration::from_nanos(nanos)).await;
            }
            Weather::Fair | Weather::Stopped | Weather::Cut => {}
        }
        if to.write_all(&piece[..n]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relay to a server that sends back what it gets.
    async fn echo() -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        let relay = Relay::start().await.unwrap();
        relay.lead_to(port);
        relay
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"hello").await?;
        stream.read_exact(&mut [0; 5]).await.map(drop)
    }

    #[tokio::test]
    async fn bytes_pass_wait_and_are_cut() {
        let relay = echo().await;
        let mut stream = TcpStream::connect(("127.0.0.1", relay.port()))
            .await
            .unwrap();
        ask(&mut stream).await.unwrap();

        relay.set(Weather::Stopped);
        let silent = tokio::time::timeout(Duration::from_millis(100), ask(&mut stream));
        assert!(silent.await.is_err());
        relay.set(Weather::Fair);
        stream.read_exact(&mut [0; 5]).await.unwrap();

        relay.set(Weather::Delay(Duration::from_millis(50)));
        let start = Instant::now();
        ask(&mut stream).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(100));

        relay.set(Weather::Cut);
        assert!(ask(&mut stream).await.is_err());
        let mut again = TcpStream::connect(("127.0.0.1", relay.port()))
            .await
            .unwrap();
        assert!(ask(&mut again).await.is_err());
    }
}
