//! TCP relays whose weather a test makes. Peers advertise relays instead of themselves, so every
//! connection between two of them passes one: that of the peer it goes to. The weather of a peer
//! counts for connections to it and from it.

use std::{collections::BTreeMap, io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::owner;

/// What happens to bytes on their way. The later of two counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
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

/// The weather over all peers, by their numbers.
#[derive(Debug, Clone, Default)]
pub struct Sky {
    weather: BTreeMap<usize, Weather>,
    /// Which process is which peer.
    pids: BTreeMap<u32, usize>,
}

impl Sky {
    /// Changes the weather of a peer.
    pub fn set(&mut self, number: usize, weather: Weather) {
        self.weather.insert(number, weather);
    }

    /// Tells which process a peer is now.
    pub fn moved(&mut self, number: usize, pid: u32) {
        self.pids.retain(|_, n| *n != number);
        self.pids.insert(pid, number);
    }

    /// The weather between two peers; strangers live under a fair sky.
    fn between(&self, to: usize, from: Option<usize>) -> Weather {
        let of = |n: usize| self.weather.get(&n).copied().unwrap_or_default();
        of(to).max(from.map(of).unwrap_or_default())
    }
}

/// Bytes taken at once.
const PIECE: usize = 16 * 1024;

/// A listener on loopback that passes connections on to one peer. Stops when dropped.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    target: watch::Sender<Option<u16>>,
    _tasks: JoinSet<()>,
}

/// What one connection needs to know.
#[derive(Debug, Clone)]
struct Road {
    /// Whose relay it is.
    number: usize,
    port: u16,
    target: watch::Sender<Option<u16>>,
    sky: watch::Sender<Sky>,
}

impl Relay {
    /// Listens for the peer of this number; connections are refused until the target is known.
    pub async fn start(number: usize, sky: &watch::Sender<Sky>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let road = Road {
            number,
            port: listener.local_addr()?.port(),
            target: watch::Sender::new(None),
            sky: sky.clone(),
        };
        let (port, target) = (road.port, road.target.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, road));
        Ok(Self {
            port,
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
}

async fn accept(listener: TcpListener, road: Road) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            // Those that ended make room.
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((near, from)) => {
                    connections.spawn(pass(near, from.port(), road.clone()));
                }
                Err(_) => return,
            },
        }
    }
}

/// One connection, until either side ends or the weather cuts it.
async fn pass(mut near: TcpStream, from: u16, road: Road) {
    let sky = road.sky.subscribe();
    let client = {
        let sky = sky.borrow();
        let owner = owner::of_connection(from, road.port, sky.pids.keys().copied());
        owner.and_then(|pid| sky.pids.get(&pid).copied())
    };
    let mut view = View {
        sky,
        to: road.number,
        from: client,
    };
    let port = *road.target.borrow();
    let Some(port) = port.filter(|_| view.now() != Weather::Cut) else {
        reset(&near);
        return;
    };
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else {
        reset(&near);
        return;
    };
    // Small frames are the rule; a socket that refuses still works.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    let (out, back) = (view.clone(), view.clone());
    let cut = tokio::select! {
        biased;
        _ = view.until(|w| w == Weather::Cut) => true,
        () = flow(near_read, far_write, out) => false,
        () = flow(far_read, near_write, back) => false,
    };
    if cut {
        reset(&near);
        reset(&far);
    }
}

/// The weather as one connection has it.
#[derive(Debug, Clone)]
struct View {
    sky: watch::Receiver<Sky>,
    to: usize,
    from: Option<usize>,
}

impl View {
    fn now(&self) -> Weather {
        self.sky.borrow().between(self.to, self.from)
    }

    /// The first weather from now on that `is` so; none once the test is over.
    async fn until(&mut self, is: impl Fn(Weather) -> bool) -> Option<Weather> {
        let (to, from) = (self.to, self.from);
        let found = self.sky.wait_for(|sky| is(sky.between(to, from))).await;
        found.ok().map(|sky| sky.between(to, from))
    }
}

/// The connection will end with a reset instead of a goodbye.
fn reset(stream: &TcpStream) {
    // A socket that is gone already needs none.
    let _ = stream.set_zero_linger();
}

/// How much late a timer may be without the bytes behind it being later too.
const SLACK: Duration = Duration::from_millis(50);

/// When the bytes of a throttled direction are through.
#[derive(Default)]
struct Pace(Option<Instant>);

impl Pace {
    /// When so many more are through that are there `now`, at so many per second.
    fn after(&mut self, bytes: usize, rate: u64, now: Instant) -> Instant {
        let took = Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate.max(1));
        // Timers are coarse: what one overslept is made up for by the next ones.
        let earliest = now.checked_sub(SLACK).unwrap_or(now);
        let begin = self.0.map_or(now, |through| through.max(earliest));
        *self.0.insert(begin + took)
    }
}

/// Bytes in one direction, until the sender says goodbye or either side breaks.
async fn flow(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut view: View) {
    let mut piece = vec![0; PIECE];
    let mut pace = Pace::default();
    loop {
        let Ok(n @ 1..) = from.read(&mut piece).await else {
            return;
        };
        let arrived = Instant::now();
        let Some(now) = view.until(|w| w != Weather::Stopped).await else {
            return;
        };
        match now {
            Weather::Delay(delay) => sleep_until(arrived + delay).await,
            Weather::Throttle(rate) => sleep_until(pace.after(n, rate, arrived)).await,
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
    async fn echo(sky: &watch::Sender<Sky>) -> Relay {
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
        let relay = Relay::start(0, sky).await.unwrap();
        relay.lead_to(port);
        relay
    }

    #[test]
    fn what_a_timer_overslept_is_made_up_for() {
        let at = |start: Instant, ms| start + Duration::from_millis(ms);
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.after(10, 1000, start), at(start, 10));
        // Three milliseconds late, and in time again.
        assert_eq!(pace.after(10, 1000, at(start, 13)), at(start, 20));
        // A pause is not made up for, but for the slack.
        assert_eq!(pace.after(10, 1000, at(start, 1050)), at(start, 1010));
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"hello").await?;
        stream.read_exact(&mut [0; 5]).await.map(drop)
    }

    #[tokio::test]
    async fn bytes_pass_wait_and_are_cut() {
        let sky = watch::Sender::new(Sky::default());
        let set = |weather| sky.send_modify(|sky| sky.set(0, weather));
        let relay = echo(&sky).await;
        let mut stream = TcpStream::connect(("127.0.0.1", relay.port()))
            .await
            .unwrap();
        ask(&mut stream).await.unwrap();

        set(Weather::Stopped);
        let silent = tokio::time::timeout(Duration::from_millis(100), ask(&mut stream));
        assert!(silent.await.is_err());
        set(Weather::Fair);
        stream.read_exact(&mut [0; 5]).await.unwrap();

        set(Weather::Delay(Duration::from_millis(50)));
        let start = Instant::now();
        ask(&mut stream).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(100));

        set(Weather::Cut);
        assert!(ask(&mut stream).await.is_err());
        let mut again = TcpStream::connect(("127.0.0.1", relay.port()))
            .await
            .unwrap();
        assert!(ask(&mut again).await.is_err());
    }
}
