//! A server of a test's own: the real program, in a folder that goes with it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tempfile::TempDir;

/// The password of `admin`.
pub(crate) const ADMIN_PASSWORD: &str = "correct horse";
/// The password of every user that a test adds.
pub(crate) const USER_PASSWORD: &str = "battery staple";

/// A server that runs.
pub(crate) struct Server {
    folder: TempDir,
    running: Option<Running>,
}

struct Running {
    child: Child,
    address: SocketAddr,
}

/// How a server ended.
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// What stood on stdout after the address.
    pub(crate) stdout: String,
    pub(crate) log: String,
}

impl Server {
    /// Starts a server with the default settings.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// Starts a server with these settings (TOML).
    pub(crate) fn with(settings: &str) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), settings)
    }

    /// Starts a server in a folder that holds files for it.
    pub(crate) fn in_folder(folder: TempDir, settings: &str) -> Self {
        let mut password = File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(folder.path().join("pw"))
            .unwrap();
        writeln!(password, "{ADMIN_PASSWORD}").unwrap();
        std::fs::write(folder.path().join("config.toml"), settings).unwrap();
        let mut server = Self {
            folder,
            running: None,
        };
        server.start_again();
        server
    }

    /// Starts the server on its folder, which it left.
    pub(crate) fn start_again(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut child = self
            .command("serve")
            .args(["--listen", "127.0.0.1:0", "--admin-password-file"])
            .arg(self.folder.path().join("pw"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        child.stdout = Some(stdout.into_inner());
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("it did not start: {}", self.log()));
        self.running = Some(Running { child, address });
    }

    /// Makes a command of the program on the server's folder.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf-registry"));
        command.arg(name).arg("--data-dir").arg(self.data_dir());
        command
            .arg("--config")
            .arg(self.folder.path().join("config.toml"));
        command.env_clear();
        command
    }

    /// Runs a command of the program on the server's folder.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let (name, rest) = arguments.split_first().unwrap();
        self.command(name)
            .args(rest)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Adds a user with [`USER_PASSWORD`].
    pub(crate) fn add_user(&self, name: &str) {
        self.set_password(name, USER_PASSWORD);
    }

    /// Adds a user, or changes a password.
    pub(crate) fn set_password(&self, name: &str, password: &str) {
        let mut child = self
            .command("user")
            .args(["add", name, "--password-stdin"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(password.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Runs a command that prints a secret, and returns that.
    pub(crate) fn secret(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{stderr}");
        let secret = stdout.trim_end().to_owned();
        assert!(
            !secret.is_empty() && !secret.contains(char::is_whitespace),
            "{stdout}"
        );
        assert!(!stderr.contains(&secret), "{stderr}");
        secret
    }

    /// Returns a path beside the server's data.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().child.id()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Returns what the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap()
    }

    /// Tells the server to stop and waits until it has.
    pub(crate) fn stop(&mut self) -> Ended {
        self.end("TERM")
    }

    /// Kills the server.
    pub(crate) fn kill(&mut self) {
        self.end("KILL");
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(&mut self, signal: &str) -> Ended {
        let mut running = self.running.take().unwrap();
        let pid = running.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut stdout = String::new();
        running
            .child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        let success = running.child.wait().unwrap().success();
        Ended {
            success,
            stdout,
            log: self.log(),
        }
    }

    /// Calls as nobody.
    pub(crate) fn nobody(&self) -> Caller<'_> {
        self.caller(Login::None)
    }

    /// Calls as `admin`, with the password.
    pub(crate) fn admin(&self) -> Caller<'_> {
        self.user_with("admin", ADMIN_PASSWORD)
    }

    /// Calls as a user that the test added.
    pub(crate) fn user(&self, name: &str) -> Caller<'_> {
        self.user_with(name, USER_PASSWORD)
    }

    pub(crate) fn user_with(&self, name: &str, password: &str) -> Caller<'_> {
        self.caller(Login::Basic(name.to_owned(), password.to_owned()))
    }

    /// Calls with a token.
    pub(crate) fn bearer(&self, token: &str) -> Caller<'_> {
        self.caller(Login::Bearer(token.to_owned()))
    }

    fn caller(&self, login: Login) -> Caller<'_> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Caller {
            server: self,
            client,
            login,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.running.is_none() {
            return;
        }
        let ended = self.stop();
        if !std::thread::panicking() {
            assert!(ended.success, "the server failed at its end: {}", ended.log);
            assert_eq!(ended.stdout, "", "more than one line on stdout");
        }
    }
}

/// What a caller shows.
#[derive(Debug, Clone)]
pub(crate) enum Login {
    None,
    Basic(String, String),
    Bearer(String),
}

/// Somebody who calls a server.
#[derive(Clone)]
pub(crate) struct Caller<'a> {
    server: &'a Server,
    client: reqwest::Client,
    login: Login,
}

impl Caller<'_> {
    /// Begins a request.
    pub(crate) fn ask(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.server.address());
        let request = self.client.request(method.parse::<Method>().unwrap(), url);
        match &self.login {
            Login::None => request,
            Login::Basic(name, password) => request.basic_auth(name, Some(password)),
            Login::Bearer(token) => request.bearer_auth(token),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.ask("GET", path)).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        answer(self.ask("HEAD", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        answer(self.ask("DELETE", path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        answer(self.ask("POST", path)).await
    }

    /// Gets a token for scopes, each `TYPE:NAME:ACTIONS`.
    pub(crate) async fn token(&self, scopes: &[&str]) -> String {
        let query: Vec<String> = scopes.iter().map(|scope| format!("scope={scope}")).collect();
        let answer = self
            .get(&format!("/token?service=wharf-registry&{}", query.join("&")))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["token"].as_str().unwrap().to_owned()
    }
}

/// Asks until the status is as wanted: rights that changed must hold within 5 s.
pub(crate) async fn within_5_s(mut ask: impl AsyncFnMut() -> u16, wanted: u16) {
    let begun = Instant::now();
    loop {
        let status = ask().await;
        if status == wanted {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "still {status} after 5 s"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Sends a request and reads its answer.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer {
        status,
        headers,
        body: response.bytes().await.unwrap(),
    }
}

impl Answer {
    /// Returns a header's text, empty if it isn't there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the status and the code of the first error.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (
            self.status,
            self.json()["errors"][0]["code"].as_str().unwrap().to_owned(),
        )
    }

    /// Asserts a status and an error's code.
    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str) {
        assert_eq!(self.refusal(), (status, code.to_owned()), "{self:?}");
    }
}
