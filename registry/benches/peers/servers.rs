//! The servers, each started at its best settings and killed when dropped.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::Connection;

const PASSWORD: &str = "correct horse battery staple";

/// A server's processes.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
    /// From the start of the process to its first answer.
    pub(crate) started_after: Duration,
}

impl Server {
    fn start(command: &mut Command, address: String, path: &str) -> Option<Self> {
        let begin = Instant::now();
        let log = fs::File::create(std::env::temp_dir().join("bench-server.log")).unwrap();
        let process = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .ok()?;
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "{address} does not answer"
            );
            std::thread::sleep(Duration::from_micros(200));
        }
        Connection::open(&address, "").ask("GET", path, "", b"");
        Some(Self {
            process,
            address,
            started_after: begin.elapsed(),
        })
    }

    /// Returns the processes' CPU seconds so far.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.stats().iter().map(|stat| stat.0).sum()
    }

    /// Returns the processes' resident memory, in MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        self.stats().iter().map(|stat| stat.1).sum()
    }

    /// CPU seconds and resident MiB of each process in the server's group.
    fn stats(&self) -> Vec<(f64, f64)> {
        let group = self.process.id().to_string();
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
            if fields.get(2)? != &group {
                return None;
            }
            let number = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
            // utime, stime in ticks of 10 ms; rss in pages of 4 KiB.
            Some(((number(11)? + number(12)?) / 100.0, number(21)? / 256.0))
        });
        processes.collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // nginx's workers go with their master when it is asked, not when it is killed.
        let _ = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status();
        let _ = self.process.wait();
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

/// Ours, with tokens, TLS off.
pub(crate) struct Wharf {
    pub(crate) server: Server,
}

impl Wharf {
    pub(crate) fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("password"), PASSWORD).unwrap();
        let address = free_address();
        // Another build of the server can be measured as well.
        let program = std::env::var_os("BENCH_PROGRAM");
        let mut command =
            Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_wharf-registry").into()));
        command
            .args(["serve", "--listen", &address, "--data-dir"])
            .arg(folder.join("data"))
            .arg("--admin-password-file")
            .arg(folder.join("password"));
        Self {
            server: Server::start(&mut command, address, "/v2/").unwrap(),
        }
    }

    /// A header line with the administrator's login: "admin:" and the password, in base64.
    pub(crate) const LOGIN: &str =
        "Authorization: Basic YWRtaW46Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==\r\n";

    /// Returns a header line with a token for `scope`.
    pub(crate) fn authorization(&self, scope: &str) -> String {
        let path = format!("/token?service=wharf&scope={scope}");
        let answer = Connection::open(&self.server.address, Self::LOGIN).ask("GET", &path, "", b"");
        assert_eq!(
            answer.status,
            200,
            "{}",
            String::from_utf8_lossy(&answer.body_start)
        );
        let body: serde_json::Value = serde_json::from_slice(&answer.body_start).unwrap();
        format!("Authorization: Bearer {}\r\n", body["token"].as_str().unwrap())
    }
}

/// Debian's registry, without authentication or access log.
pub(crate) struct DockerRegistry {
    pub(crate) server: Server,
}

impl DockerRegistry {
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let address = free_address();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  cache: {{blobdescriptor: \
             inmemory}}\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: \"{address}\"}}\n",
            folder.join("data").display()
        );
        let path = folder.join("config.yml");
        fs::write(&path, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(path).env("OTEL_TRACES_EXPORTER", "none");
        Some(Self {
            server: Server::start(&mut command, address, "/v2/")?,
        })
    }
}

/// nginx with sendfile, two workers and no access log, over a folder.
pub(crate) struct Nginx {
    pub(crate) server: Server,
    folder: std::path::PathBuf,
}

impl Nginx {
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        fs::create_dir_all(folder.join("files")).unwrap();
        let address = free_address();
        let place = folder.display();
        let config = format!(
            "daemon off; worker_processes 2; pid {place}/pid; error_log {place}/error.log crit; user root;\n\
             events {{ worker_connections 1024; multi_accept on; }}\n\
             http {{ access_log off; sendfile on; sendfile_max_chunk 2m; tcp_nopush on; keepalive_requests 100000000;\n\
             open_file_cache max=1000; default_type application/octet-stream;\n\
             client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fcgi;\n\
             uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;\n\
             server {{ listen {address} reuseport; root {place}/files; }} }}\n"
        );
        let path = folder.join("nginx.conf");
        fs::write(&path, config).unwrap();
        let program = if Path::new("/usr/sbin/nginx").exists() {
            "/usr/sbin/nginx"
        } else {
            "nginx"
        };
        let server = Server::start(Command::new(program).arg("-c").arg(path), address, "/")?;
        Some(Self {
            server,
            folder: folder.join("files"),
        })
    }

    /// Lets it serve bytes under a name.
    pub(crate) fn add(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.join(name), bytes).unwrap();
    }
}
