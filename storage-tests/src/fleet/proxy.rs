//! A proxy as plain as can be: the next connection goes to the next replica.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::in_flight::InFlight;

/// Passes connections on, whatever is said in them, to each replica in turn.
pub struct Proxy {
    address: SocketAddr,
    turns: Arc<Turns>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Turns(Mutex<(usize, Vec<Backend>)>);

#[derive(Default, Clone)]
struct Backend {
    /// `None` while it is out of rotation.
    address: Option<SocketAddr>,
    in_flight: InFlight,
}

impl Proxy {
    /// Starts a proxy before nobody.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let turns = Arc::new(Turns::default());
        let accepting = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move {
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    let turns = Arc::clone(&turns);
                    tokio::spawn(async move { turns.pass_on(client).await });
                }
            }
        });
        Self {
            address,
            turns,
            accepting,
        }
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a place for one more replica, out of rotation.
    pub(super) fn add(&self) {
        self.turns.0.lock().unwrap().1.push(Backend::default());
    }

    /// Puts a replica into rotation.
    pub fn put_in(&self, index: usize, address: SocketAddr) {
        self.turns.0.lock().unwrap().1[index].address = Some(address);
    }

    /// Takes a replica out of rotation; what is under way goes on.
    pub fn take_out(&self, index: usize) {
        self.turns.0.lock().unwrap().1[index].address = None;
    }

    /// Returns what a replica has been asked and has not answered: the first line of each connection.
    pub fn in_flight(&self, index: usize) -> Vec<String> {
        self.backend(index).in_flight.list()
    }

    /// Waits until a replica is asked something that `wanted` accepts.
    pub async fn wait_for(&self, index: usize, wanted: impl Fn(&str) -> bool) {
        self.backend(index).in_flight.wait_for(wanted).await;
    }

    fn backend(&self, index: usize) -> Backend {
        self.turns.0.lock().unwrap().1[index].clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Turns {
    async fn pass_on(&self, mut client: TcpStream) {
        client.set_nodelay(true).unwrap();
        let mut head = Vec::new();
        while !head.contains(&b'\n') {
            match client.read_buf(&mut head).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        let Some((mut replica, in_flight)) = self.connect().await else {
            return;
        };
        let _call = in_flight.begin(line);
        // Whoever goes away, on either side, ends it: the other one sees its connection end.
        if replica.write_all(&head).await.is_ok() {
            let _ = copy_bidirectional(&mut client, &mut replica).await;
        }
    }

    /// Connects to the next replica that takes the connection. Nothing has been sent before, so trying another is safe.
    async fn connect(&self) -> Option<(TcpStream, InFlight)> {
        let count = self.0.lock().unwrap().1.len();
        for _ in 0..count {
            let backend = {
                let mut turns = self.0.lock().unwrap();
                turns.0 = (turns.0 + 1) % count;
                turns.1[turns.0].clone()
            };
            let Some(address) = backend.address else { continue };
            if let Ok(stream) = TcpStream::connect(address).await {
                stream.set_nodelay(true).unwrap();
                return Some((stream, backend.in_flight));
            }
        }
        None
    }
}
