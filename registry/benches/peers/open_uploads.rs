//! What an open upload costs in memory.

use super::client::Connection;
use super::work::{Peers, REPOSITORY};

/// How many are open: as many as one user may have.
const UPLOADS: usize = 1000;
/// How much of its chunk each has sent.
const SENT_BYTES: usize = 96 * 1024;
/// How large the chunk is.
const CHUNK_BYTES: usize = 128 * 1024;

impl Peers<'_> {
    /// Resident memory while 1,000 clients are in the middle of a chunk, and after they have ended it.
    pub(crate) fn open_uploads(&self) {
        println!("\n{UPLOADS} uploads, each in the middle of a chunk: KiB of resident memory an upload");
        println!("{:<18}{:>12}{:>12}", "", "open", "ended");
        let piece = vec![7; CHUNK_BYTES];
        for (name, server, authorization) in
            &self.registries_for(&format!("repository:{REPOSITORY}:pull,push"))
        {
            let before = server.resident_mib();
            let an_upload = || (server.resident_mib() - before) * 1024.0 / UPLOADS as f64;
            let mut connections: Vec<Connection> = (0..UPLOADS)
                .map(|_| {
                    let mut connection = Connection::open(&server.address, authorization);
                    connection.read_little();
                    let path = connection.begin_upload(REPOSITORY);
                    connection.send(
                        "PATCH",
                        &path,
                        "Content-Type: application/octet-stream\r\n",
                        CHUNK_BYTES,
                    );
                    connection.send_body(&piece[..SENT_BYTES]);
                    connection
                })
                .collect();
            std::thread::sleep(std::time::Duration::from_secs(1));
            let open = an_upload();
            for connection in &mut connections {
                connection.send_body(&piece[SENT_BYTES..]);
            }
            for connection in &mut connections {
                assert_eq!(connection.head().status, 202);
            }
            println!("{name:<18}{open:>12.1}{:>12.1}", an_upload());
        }
    }
}
