//! A wire between a client and a registry that keeps what goes over it, and can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is kept of one connection in one direction.
const KEPT: usize = 1 << 20;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the registry.
    Up,
    /// From the registry to the client.
    Down,
}

#[derive(Default)]
struct State {
    /// One text a connection: what the client said and what it heard.
    said: Vec<String>,
    heard: Vec<String>,
    bytes_up: u64,
    bytes_down: u64,
    /// The next connection that carries this many bytes this way is cut.
    cut: Option<(Way, u64)>,
}

/// A listener whose connections end at a registry.
pub(crate) struct Tap {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Tap {
    /// Listens on the loopback for clients of the registry at `to`.
    pub(crate) fn before(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tap = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let (to, state) = (to.to_owned(), tap.state.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let registry = TcpStream::connect(&to).unwrap();
                Self::join(client, registry, &state);
            }
        });
        tap
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts the first connection, this once, that carries this many bytes from now on.
    pub(crate) fn cut(&self, way: Way, bytes: u64) {
        self.state.lock().unwrap().cut = Some((way, bytes));
    }

    /// Says whether the cut that was asked for has been made.
    pub(crate) fn was_cut(&self) -> bool {
        self.state.lock().unwrap().cut.is_none()
    }

    /// What clients said so far, its lines.
    pub(crate) fn said(&self) -> Vec<String> {
        lines(&self.state.lock().unwrap().said)
    }

    /// What they heard so far, its lines.
    pub(crate) fn heard(&self) -> Vec<String> {
        lines(&self.state.lock().unwrap().heard)
    }

    /// How many bytes went this way so far.
    pub(crate) fn bytes(&self, way: Way) -> u64 {
        let state = self.state.lock().unwrap();
        match way {
            Way::Up => state.bytes_up,
            Way::Down => state.bytes_down,
        }
    }

    fn join(client: TcpStream, registry: TcpStream, state: &Arc<Mutex<State>>) {
        let connection = {
            let mut state = state.lock().unwrap();
            state.said.push(String::new());
            state.heard.push(String::new());
            state.said.len() - 1
        };
        let other = (registry.try_clone().unwrap(), client.try_clone().unwrap());
        let (up, down) = (state.clone(), state.clone());
        thread::spawn(move || carry(Way::Up, connection, client, registry, &up));
        thread::spawn(move || carry(Way::Down, connection, other.0, other.1, &down));
    }
}

fn carry(way: Way, connection: usize, mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>) {
    let mut buffer = vec![0; 64 << 10];
    let mut carried = 0;
    // A connection that one side breaks ends for both, as on a wire.
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        carried += read as u64;
        if state
            .lock()
            .unwrap()
            .note(way, connection, &buffer[..read], carried)
        {
            break;
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        // It may be closed by the other direction already.
        let _closed = end.shutdown(Shutdown::Both);
    }
}

impl State {
    /// Keeps what was carried; `true`: the connection is to be cut.
    fn note(&mut self, way: Way, connection: usize, bytes: &[u8], carried: u64) -> bool {
        let (total, texts) = match way {
            Way::Up => (&mut self.bytes_up, &mut self.said),
            Way::Down => (&mut self.bytes_down, &mut self.heard),
        };
        *total += bytes.len() as u64;
        let text = &mut texts[connection];
        if text.len() < KEPT {
            text.push_str(&String::from_utf8_lossy(bytes));
        }
        let due = self
            .cut
            .is_some_and(|(cut, after)| cut == way && carried >= after);
        if due {
            self.cut = None;
        }
        due
    }
}

fn lines(texts: &[String]) -> Vec<String> {
    texts
        .iter()
        .flat_map(|text| text.split("\r\n"))
        .map(str::to_owned)
        .collect()
}
