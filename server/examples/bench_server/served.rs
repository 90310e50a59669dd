//! The server that is measured: a process of its own, with everything but the engine.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use levain_engine::cancel::Cancel;
use levain_server::Database;
use levain_server::http::{self, Readers, Site};
use levain_server::projects::Project;
use levain_server::runs::Owner;
use levain_server::serving::{Company, Running, Settings};
use levain_server::workshop::{Carried, HeadsError, Listed, Order, Workshop};

use crate::Failure;
use crate::client::Target;

/// Finds no branches and builds nothing.
struct Nobody;

impl Workshop for Nobody {
    fn heads(&self, _: &Project, _: &Cancel) -> Result<Listed, HeadsError> {
        Ok(Listed::default())
    }

    fn carry_out(&self, _: &Order, _: &Cancel) -> Carried {
        Carried::Stopped
    }
}

/// Serves until it is killed.
pub(crate) async fn serve(url: &str) -> Result<(), Failure> {
    let database = Database::open(&url.parse()?).await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let workshop: Arc<dyn Workshop> = Arc::new(Nobody);
    let (owner, settings) = (Owner::unique()?, Settings::default());
    let running = Running::start(database.clone(), workshop, owner, Company::Alone, settings);
    let running = running.await?;
    let site = Site { arrived: running.arrived(), readers: Readers::Local, ..Site::new(database) };
    println!("{port}");
    http::serve(listener, site, Arc::default()).await;
    Ok(())
}

/// A server at work. Killed when it is dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) target: Target,
    /// How long it took until it listened.
    pub(crate) ready: Duration,
}

impl Served {
    #[expect(clippy::disallowed_methods, reason = "it starts itself")]
    pub(crate) fn start(url: &str) -> Result<Self, Failure> {
        let began = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", url])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let target = Target { port: line.trim_end().parse()? };
        Ok(Self { child, target, ready: began.elapsed() })
    }

    /// Returns how many MiB it takes.
    pub(crate) fn memory(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 =
            line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?.parse()?;
        Ok(kib / 1024)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
