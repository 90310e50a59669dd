//! Who sends deliveries with bad signatures: a process of its own, and of lower priority.
//!
//! In earnest it is another machine. Here it has the same processors, and must not keep the client waiting that is
//! measured: what that one waits for then is the server.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use crate::client::{Connection, Target, delivery_to};
use crate::{BODY, Failure};

/// How many connections it has.
const LANES: usize = 4;

/// The process.
pub(crate) struct Attack(Child);

/// Starts it.
#[expect(clippy::disallowed_methods, reason = "it starts itself")]
pub(crate) fn start(port: u16, hook: &str, count: usize) -> Result<Attack, Failure> {
    let child = Command::new("nice")
        .arg(std::env::current_exe()?)
        .args(["attack", &port.to_string(), hook, &count.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(Attack(child))
}

impl Attack {
    /// Waits for its end; returns how many were refused.
    pub(crate) fn end(&mut self) -> Result<usize, Failure> {
        let mut said = String::new();
        self.0.stdout.take().ok_or("no standard output")?.read_to_string(&mut said)?;
        match self.0.wait()?.success() {
            true => Ok(said.trim_end().parse()?),
            false => Err("the bad signatures were not all refused".into()),
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Sends so many and prints how many were refused.
pub(crate) async fn attack(port: u16, hook: &str, count: usize) -> Result<(), Failure> {
    let target = Target { port };
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..LANES {
        let mut connection = Connection::open(&target).await?;
        let wrong = b"something else of that length";
        let request = delivery_to(hook, wrong, &lane.to_string(), BODY);
        lanes.spawn(async move {
            for _ in 0..count / LANES {
                let (status, _) = connection.ask(&request).await?;
                if status != 401 {
                    return Err(Failure::from(format!("answered {status}, not 401")));
                }
            }
            Ok(count / LANES)
        });
    }
    let mut sent = 0;
    while let Some(result) = lanes.join_next().await {
        sent += result??;
    }
    println!("{sent}");
    Ok(())
}
