//! The real httpbin, under gunicorn.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use tokio::net::TcpStream;

use harness::eventually;
use harness::process::{Folder, ROOT};

/// The words that start gunicorn; its own arguments follow them.
static COMMAND: LazyLock<Vec<String>> = LazyLock::new(|| {
    let found = Command::new(Path::new(ROOT).join("tools/httpbin")).stderr(Stdio::inherit()).output().unwrap();
    assert!(found.status.success(), "tools/httpbin does not install httpbin");
    String::from_utf8(found.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
});

/// A server that logs a line for each request, as the services in the other examples do.
pub struct Httpbin {
    child: Child,
    address: SocketAddr,
    folder: Folder,
}

impl Httpbin {
    pub fn start(name: &str, address: SocketAddr) -> Self {
        let folder = Folder::new();
        let format = format!(
            "{name} %(m)s %({{raw_uri}}e)s authority=%({{host}}i)s x-mirrored-request=%({{x-mirrored-request}}i)s"
        );
        let child = Command::new(&COMMAND[0])
            .args(&COMMAND[1..])
            // The port is held for it by a socket of the test.
            .args(["--reuse-port", "--bind", &address.to_string()])
            .args(["--access-logfile", "-", "--access-logformat", &format, "httpbin:app"])
            .stdin(Stdio::null())
            .stdout(File::create(folder.path("stdout")).unwrap())
            .stderr(File::create(folder.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { child, address, folder }
    }

    pub async fn ready(&self) {
        eventually("httpbin", async || match TcpStream::connect(self.address).await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}\n{}", fs::read_to_string(self.folder.path("stderr")).unwrap())),
        })
        .await;
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path("stdout")).unwrap()
    }
}

impl Drop for Httpbin {
    /// Ends it as an operator would, so that it ends its workers.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}
