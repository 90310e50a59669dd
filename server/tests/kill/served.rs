//! The process that is killed: the server's own database, loops and routes, and a stand-in for the engine.
//!
//! Started by the test as `serve DATABASE POINT COUNT DIRECTORY`: it kills itself when it comes to a point for the so-manieth time.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use levain_engine::cancel::Cancel;
use levain_server::Database;
use levain_server::http::{self, Site};
use levain_server::points::{Point, Points};
use levain_server::projects::Project;
use levain_server::runs::state::Verdict;
use levain_server::runs::{Ended, Owner};
use levain_server::serving::{Company, Running, Settings};
use levain_server::workshop::{Carried, HeadsError, Listed, Order, Workshop};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::built::Machine;
use crate::origin;

/// How long runs wait that something away keeps from being carried out: none is given up.
const PUT_OFF: [Duration; 50] = [Duration::from_millis(50); 50];

/// Serves until SIGTERM, or until it is killed.
pub(crate) fn serve(arguments: &[String]) -> ExitCode {
    let [url, point, count, directory] = arguments else { panic!("{arguments:?}") };
    let point = Point::ALL.into_iter().find(|known| format!("{known:?}") == *point);
    let count: usize = count.parse().unwrap();
    let passed = AtomicUsize::new(0);
    let points = Points::calling(move |reached| {
        if Some(reached) == point && passed.fetch_add(1, Ordering::SeqCst) + 1 == count {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
            // It may take the system a moment.
            std::thread::sleep(Duration::from_secs(60));
        }
    });
    // A test that is killed leaves nothing behind.
    std::thread::spawn(|| {
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        std::process::exit(1);
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut end = signal(SignalKind::terminate()).unwrap();
        let database = Database::open_with(&url.parse().unwrap(), points).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let workshop: Arc<dyn Workshop> = Arc::new(StandIn {
            at_work: Mutex::default(),
            database: database.clone(),
            runtime: Handle::current(),
            machine: Machine::new(directory.as_ref()),
        });
        let owner = Owner::unique().unwrap();
        let running =
            Running::start(database.clone(), workshop, owner, Company::Alone, settings()).await;
        let running = running.unwrap();
        let site = Site { arrived: running.arrived(), ..Site::new(database.clone()) };
        let ending = Arc::new(Notify::new());
        let answering = tokio::spawn(http::serve(listener, site, Arc::clone(&ending)));
        println!("{port}");
        end.recv().await;
        ending.notify_one();
        running.stop().await;
        drop(tokio::time::timeout(Duration::from_secs(1), answering).await);
        database.close().await;
    });
    ExitCode::SUCCESS
}

/// Looks often: a delivery that is lost is made up for soon.
fn settings() -> Settings {
    Settings {
        workers: 2,
        look_every: Duration::from_millis(400),
        glance_every: Duration::from_millis(50),
        first_wait: Duration::from_millis(20),
        longest_wait: Duration::from_millis(100),
        patience: Duration::from_secs(2),
        put_off: &PUT_OFF,
        ..Settings::default()
    }
}

/// Lists real repositories, and takes a little while instead of building.
struct StandIn {
    /// The projects of which a run is carried out.
    at_work: Mutex<BTreeSet<String>>,
    database: Database,
    runtime: Handle,
    machine: Machine,
}

impl Workshop for StandIn {
    fn heads(&self, project: &Project, _: &Cancel) -> Result<Listed, HeadsError> {
        let heads = origin::heads(&project.url).map_err(|message| HeadsError { message })?;
        // What was listed may be old by now.
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..10)));
        Ok(Listed { heads, ..Listed::default() })
    }

    fn carry_out(&self, order: &Order, cancel: &Cancel) -> Carried {
        let name = format!("{} {}", order.project.name, order.run.jobset);
        let is_alone = self.at_work.lock().unwrap().insert(name.clone());
        assert!(is_alone, "two runs of `{name}` at a time");
        let mut left = origin::duration(order.run.commit);
        let step = Duration::from_millis(1);
        while !left.is_zero() && !cancel.is_cancelled() {
            std::thread::sleep(step);
            left = left.saturating_sub(step);
        }
        let (run, url) = (&order.run, &order.project.url);
        if left.is_zero() && origin::is_good(run.commit) {
            let built =
                self.machine.build(&self.database, &self.runtime, url, &run.jobset, run.commit);
            built.unwrap();
        }
        self.at_work.lock().unwrap().remove(&name);
        if left.is_zero() && fastrand::u32(0..6) == 0 {
            return Carried::Hindered { why: "the forge is away".to_owned() };
        }
        match left.is_zero() {
            true => Carried::Ended(Ended::new(verdict(order), "1 clean")),
            false => Carried::Stopped,
        }
    }
}

fn verdict(order: &Order) -> Verdict {
    if origin::is_good(order.run.commit) { Verdict::Succeeded } else { Verdict::Failed }
}
