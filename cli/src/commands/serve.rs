//! `levain serve`: takes deliveries, carries out what they call for, and goes on until it is told to end.

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use levain_engine::BuildLimits;
use levain_engine::project::{Surroundings, WriteAccess};
use levain_server::Database;
use levain_server::clock::Timestamp;
use levain_server::forges::Forges;
use levain_server::http::{self, Proxies, Readers, Site, Sizes};
use levain_server::live::Live;
use levain_server::logins::Logins;
use levain_server::runs::Owner;
use levain_server::secret::Secret;
use levain_server::serving::{Company, Running, Settings};
use levain_server::workshop::engine::{EngineWorkshop, Whose};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::args::{Global, Serve};
use crate::exit::Failure;
use crate::server_place::ServerPlace;
use crate::setup::{self, Trust};
use crate::terminal::Terminal;

/// How long those who are being answered when the server ends may take.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Runs the command.
pub(crate) fn serve(
    global: &Global,
    args: &Serve,
    terminal: &Terminal,
    runtime: &Handle,
) -> Result<ExitCode, Failure> {
    let place = ServerPlace::find(&args.database)?;
    let lock = place.lock()?;
    if lock.is_some() && args.workers == 0 {
        return Err(Failure::user(
            "with `--workers 0` other servers carry out the runs, and nobody shares an SQLite database\nhint: pass `--database postgres://USER@HOST/NAME`, or leave out `--workers`",
        ));
    }
    // What is missing is missing for every run: better told now.
    let Surroundings { store, scheduler, holds, .. } =
        setup::surroundings(global, Trust::Branch, runtime)?;
    let equip = {
        let (global, handle) = (global.clone(), runtime.clone());
        move |whose| {
            let trust = match whose {
                Whose::Project => Trust::Branch,
                Whose::Anyone => Trust::Anyone,
            };
            let own = setup::surroundings(&global, trust, &handle)
                .map_err(|failure| failure.to_string())?;
            // All runs share the slots of this machine, and build once what several of them want.
            Ok(Surroundings { scheduler: scheduler.clone(), holds: holds.clone(), ..own })
        }
    };
    let access = args.writing.access();
    let database = runtime.block_on(place.open())?;
    let database = match access {
        WriteAccess::Write => database,
        WriteAccess::ReadOnly => database.without_statuses(),
    };
    let logins = Logins::new(database.clone(), args.forge_ca_file.clone());
    let workshop = EngineWorkshop {
        equip: Box::new(equip),
        access,
        limits: BuildLimits {
            timeout: limit(args.build_timeout),
            silence: limit(args.build_silence),
        },
        logins: logins.clone(),
        live: Live::default(),
        database: database.clone(),
        runtime: runtime.clone(),
    };
    let end = Arc::new(Notify::new());
    setup::notify_on_signals(runtime, Arc::clone(&end));
    let company = if lock.is_some() { Company::Alone } else { Company::Others };
    let forges = Forges { logins };
    let settings = Settings { workers: args.workers, forges, ..Settings::default() };
    let site = Site {
        live: workshop.live.clone(),
        // What was asked for on a page serves runs as well.
        forges: settings.forges.clone(),
        sizes: Sizes::of_store(store),
        ..Site::new(database)
    };
    runtime.block_on(until(args, site, workshop, company, settings, terminal, async move {
        end.notified().await;
    }))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a limit of so many seconds; nothing for 0.
fn limit(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// Returns a line with the link by which the operator signs in, once; nothing while they are signed in, or where nobody
/// can sign in.
async fn operator_link(database: &Database, url: &str) -> Result<String, Failure> {
    if !http::can_sign_in(url) {
        return Ok(String::new());
    }
    let secret = Secret::new().map_err(|error| Failure::error(&error))?;
    let noted = database.note_operator_link(secret.hash(), Timestamp::now()).await;
    Ok(match noted.map_err(|error| Failure::error(&error))? {
        true => super::sign_in::operator_link(url, &secret),
        false => String::new(),
    })
}

/// Returns where users of this machine reach a server that listens on an address.
fn local(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{address}")
}

async fn until(
    args: &Serve,
    site: Site,
    workshop: EngineWorkshop,
    company: Company,
    settings: Settings,
    terminal: &Terminal,
    end: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let database = site.database.clone();
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::user(format!(
            "cannot listen on {}: {error}\nhint: choose another address with `--listen`",
            args.listen
        ))
    })?;
    let address = listener.local_addr().map_err(Failure::bug)?;
    let url = match &args.public_url {
        Some(url) => url.as_str().to_owned(),
        None => format!("http://{address}"),
    };
    database.note_public_url(url.clone()).await.map_err(|error| Failure::error(&error))?;
    // Whoever asks there wants to know of runs that are under way.
    if args.workers > 0 {
        database.note_local_url(local(address)).await.map_err(|error| Failure::error(&error))?;
    }
    // A page that only this machine reaches is no use to those who read the forge.
    let pages = args.public_url.as_ref().map(|url| url.as_str().to_owned());
    database.note_pages_url(pages).await.map_err(|error| Failure::error(&error))?;
    let owner = Owner::unique().map_err(|error| Failure::error(&error))?;
    let workshop = Arc::new(workshop);
    let running = Running::start(database.clone(), workshop, owner, company, settings)
        .await
        .map_err(|error| Failure::error(&error))?;
    let readers = if address.ip().is_loopback() { Readers::Local } else { Readers::Nobody };
    let arrived = running.arrived();
    let link = operator_link(&database, &url).await?;
    let site = Site {
        arrived,
        readers,
        public_url: url,
        acted: running.acted(),
        proxies: Proxies::new(args.trusted_proxy.iter().copied()),
        ..site
    };
    let ending = Arc::new(Notify::new());
    let answering = tokio::spawn(http::serve(listener, site, Arc::clone(&ending)));
    terminal.print(&format!("levain listens on http://{address}\n{link}"))?;
    end.await;
    tracing::info!("ending");
    ending.notify_one();
    let (answered, ()) =
        tokio::join!(tokio::time::timeout(LAST_ANSWERS, answering), running.stop());
    if answered.is_err() {
        tracing::debug!("not all answers were taken");
    }
    database.close().await;
    Ok(())
}
