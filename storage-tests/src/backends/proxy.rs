//! A TCP proxy before PostgreSQL that is slow, says nothing, or cuts connections where a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;
use wharf_registry::config::DatabaseUrl;

use crate::faults::When;

/// What the proxy does.
///
/// A question is all that a client sends until it waits for an answer: one message `Query`, or those up to a `Sync`
/// (PostgreSQL's frontend protocol). Questions of all connections are counted together.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// Passes everything on.
    Pass,
    /// Lets every question wait.
    Delay(Duration),
    /// Ends the connection at the `n`-th question from now on, counted from 1, and passes everything on then.
    Cut {
        /// Which question.
        n: usize,
        /// Whether the server has answered it; that answer is lost.
        when: When,
    },
    /// Ends the connection when the server has answered a `COMMIT`, whose answer is lost, and passes on all others.
    CutCommit,
    /// Passes no question on from now on, and keeps every connection open.
    Silence,
}

/// A running proxy; ends with its value.
#[derive(Debug)]
pub struct Proxy {
    url: DatabaseUrl,
    rule: Arc<Mutex<State>>,
    listener: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    rule: Rule,
    questions: usize,
    cuts: usize,
}

/// What to do with one question.
enum Fate {
    Pass,
    Wait(Duration),
    CutNow,
    CutAnswer,
    Never,
}

impl Proxy {
    /// Puts a proxy before a database in a server that listens on a Unix socket, as those of
    /// [`postgres`](super::postgres) do.
    pub async fn before(url: &DatabaseUrl) -> Self {
        let DatabaseUrl::Postgres(url) = url else {
            panic!("only PostgreSQL is behind a socket")
        };
        let (before, folder) = url.split_once("?host=").unwrap();
        let database = before.rsplit_once('/').unwrap().1;
        let socket = format!("{folder}/.s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = DatabaseUrl::Postgres(format!("postgres://postgres@127.0.0.1:{port}/{database}"));
        let rule = Arc::new(Mutex::new(State {
            rule: Rule::Pass,
            questions: 0,
            cuts: 0,
        }));
        let shared = Arc::clone(&rule);
        let listener = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (shared, socket) = (Arc::clone(&shared), socket.clone());
                connections.spawn(async move {
                    // Where the server is down, the client sees its connection end.
                    let _ended = connect(client, &socket, &shared).await;
                });
            }
        });
        Self { url, rule, listener }
    }

    /// Returns where the database is for those who go through the proxy.
    pub fn url(&self) -> DatabaseUrl {
        self.url.clone()
    }

    /// Sets what the proxy does from now on.
    pub fn set(&self, rule: Rule) {
        let mut state = self.rule.lock().unwrap();
        state.rule = rule;
        state.questions = 0;
    }

    /// Returns how many connections were cut.
    pub fn cuts(&self) -> usize {
        self.rule.lock().unwrap().cuts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl State {
    fn judge(&mut self, question: &[u8]) -> Fate {
        self.questions += 1;
        match self.rule {
            Rule::Pass => Fate::Pass,
            Rule::Delay(time) => Fate::Wait(time),
            Rule::Silence => Fate::Never,
            Rule::Cut { n, when } if self.questions == n => {
                self.cuts += 1;
                self.rule = Rule::Pass;
                match when {
                    When::Before => Fate::CutNow,
                    When::After => Fate::CutAnswer,
                }
            }
            Rule::Cut { .. } => Fate::Pass,
            Rule::CutCommit if question.windows(6).any(|words| words == b"COMMIT") => {
                self.cuts += 1;
                Fate::CutAnswer
            }
            Rule::CutCommit => Fate::Pass,
        }
    }
}

/// Serves one connection until either side ends it or it is cut; then both are closed.
async fn connect(client: TcpStream, socket: &str, state: &Mutex<State>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = UnixStream::connect(socket).await?.into_split();
    // A request for TLS is answered by one byte, here always "no"; the start comes after it.
    while start(&mut from_client, &mut to_server).await? == TLS {
        to_client.write_u8(from_server.read_u8().await?).await?;
    }
    let (lose, mut lost) = tokio::sync::watch::channel(false);
    let answers = async {
        let mut buffer = vec![0; 65536];
        loop {
            let read = from_server.read(&mut buffer).await?;
            let answer = &buffer[..read];
            // A question's answer ends with ReadyForQuery.
            if *lost.borrow_and_update() {
                if read == 0 || matches!(answer, [.., b'Z', 0, 0, 0, 5, _]) {
                    return Ok(());
                }
            } else if read == 0 {
                return Ok(());
            } else {
                to_client.write_all(answer).await?;
            }
        }
    };
    let questions = async {
        let mut question = Vec::new();
        loop {
            read_question(&mut from_client, &mut question).await?;
            let fate = state.lock().unwrap().judge(&question);
            match fate {
                Fate::Pass => {}
                Fate::Wait(time) => tokio::time::sleep(time).await,
                Fate::CutNow => return Ok(()),
                Fate::CutAnswer => {
                    lose.send_replace(true);
                }
                Fate::Never => std::future::pending().await,
            }
            to_server.write_all(&question).await?;
        }
    };
    tokio::select! {
        ended = answers => ended,
        ended = questions => ended,
    }
}

/// The code of a request for TLS.
const TLS: u32 = 80_877_103;

/// Passes on a message without a type, as they are before a session has begun; returns its code.
async fn start(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> std::io::Result<u32> {
    let length = from.read_u32().await?;
    let mut body = vec![0; usize::try_from(length).unwrap() - 4];
    from.read_exact(&mut body).await?;
    to.write_u32(length).await?;
    to.write_all(&body).await?;
    Ok(u32::from_be_bytes([body[0], body[1], body[2], body[3]]))
}

/// Reads messages up to one that is answered.
async fn read_question(from: &mut OwnedReadHalf, question: &mut Vec<u8>) -> std::io::Result<()> {
    question.clear();
    loop {
        let kind = from.read_u8().await?;
        let length = from.read_u32().await?;
        question.push(kind);
        question.extend(length.to_be_bytes());
        let body = question.len();
        question.resize(body + usize::try_from(length).unwrap() - 4, 0);
        from.read_exact(&mut question[body..]).await?;
        // Query, Sync, Terminate.
        if matches!(kind, b'Q' | b'S' | b'X') {
            return Ok(());
        }
    }
}
