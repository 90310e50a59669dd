//! What comes in over HTTP. Each route is in a file below, and in the table that [`table`] returns.
//!
//! Start at [`Table`] for how to add one.

mod acting;
mod api;
mod apps;
mod aside;
mod caches;
mod connections;
mod cookies;
mod forecast;
mod health;
mod incoming;
mod local;
mod metrics;
mod openapi;
mod origin;
mod pages;
mod permissions;
mod proxies;
mod shares;
mod sign_in;
mod sizes;
mod table;
mod visitor;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use crate::Database;
use crate::database::DatabaseError;
use crate::forges::Forges;
use crate::live::Live;
use crate::pages::Renderer;
use crate::pages::log_file::Indexes;
use crate::projects::Project;
use crate::serving::Acted;
use aside::Aside;
use cookies::Cookies;
use health::Readiness;
use incoming::Room;
pub use openapi::document;
use permissions::Permissions;
pub use proxies::{Network, NoNetwork, Proxies};
use shares::{Places, Turns};
pub use sizes::Sizes;
pub use table::{Listed, Needs, Table};
use visitor::Visitor;
use webhook::Stranger;

/// How many files are read at a time.
const MOST_READING: usize = 4;
/// How many whole logs are sent at a time, and how many of them to one visitor.
const MOST_DOWNLOADS: usize = 64;
const DOWNLOADS_OF_ONE: usize = 8;
/// How many may watch, and how many pages one visitor may watch at a time.
const MOST_WATCHERS: usize = 2_048;
const WATCHED_BY_ONE: usize = 64;
/// How often one visitor may leave for a forge to sign in, and in what time: many may share an address.
const SIGN_INS: u32 = 100;
const SIGN_INS_IN: Duration = Duration::from_secs(600);
/// How long a forge may take to say what somebody may do.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the routes answer from.
pub struct Site {
    /// What is kept.
    pub database: Database,
    /// What is notified when something was delivered.
    pub arrived: Arc<Notify>,
    /// What the runs of this server are doing.
    pub live: Live,
    /// Where the server is reached, such as `https://ci.example.org`, without a slash at its end.
    pub public_url: String,
    /// Who may read what is there without saying who they are.
    pub readers: Readers,
    /// How much others may ask of it.
    pub limits: Limits,
    /// What asks forges about people.
    pub forges: Forges,
    /// What is told when somebody changed what is to be done.
    pub acted: Acted,
    /// How long a forge may take to say what somebody may do, and how long somebody waits to be told that there is
    /// nothing for them.
    pub patience: Duration,
    /// The proxies that are believed about who asks.
    pub proxies: Proxies,
    /// What knows how big store paths are.
    pub sizes: Sizes,
}

/// How much of the server others may take, whoever they are.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many connections there are at a time.
    pub connections: usize,
    /// How long a connection may take to ask for something.
    pub header: Duration,
    /// How long a delivery may take to arrive.
    pub body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4_096, header: Duration::from_secs(10), body: Duration::from_secs(60) }
    }
}

/// Who may read projects and runs without saying who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Whoever is on this machine.
    Local,
    /// Nobody.
    Nobody,
}

impl Site {
    /// Returns a site of which nobody can read anything.
    pub fn new(database: Database) -> Self {
        let arrived = Arc::new(Notify::new());
        let public_url = "http://127.0.0.1:8740".to_owned();
        let limits = Limits::default();
        Self {
            database,
            arrived,
            public_url,
            readers: Readers::Nobody,
            limits,
            forges: Forges::default(),
            acted: Acted::default(),
            patience: PATIENCE,
            proxies: Proxies::default(),
            sizes: Sizes::default(),
            live: Live::default(),
        }
    }
}

/// What all routes share.
#[derive(Clone)]
struct App {
    database: Database,
    arrived: Arc<Notify>,
    stranger: Arc<Stranger>,
    room: Room,
    limits: Limits,
    readers: Readers,
    rights: Permissions,
    forges: Forges,
    acted: Acted,
    /// How cookies are set here; nothing if nobody can sign in.
    cookies: Option<Cookies>,
    live: Live,
    /// What browsers call a page of this server: scheme, host and port.
    origin: Arc<str>,
    renderer: Arc<Renderer>,
    logs: Indexes,
    /// Who may read files, which takes a thread each.
    reading: Arc<Semaphore>,
    /// Who may have whole logs sent, which takes a thread each for as long as they read.
    downloads: Places,
    /// Where the server is reached, without a slash at its end.
    public_url: Arc<str>,
    watched: pages::Watched,
    /// Who may watch.
    watchers: Places,
    /// Where what takes long is done.
    aside: Aside,
    /// Who may leave to sign in.
    sign_ins: Turns,
    /// Who is believed about who asks.
    proxies: Proxies,
    /// How big store paths are.
    sizes: Sizes,
    readiness: Readiness,
}

impl App {
    /// Returns the projects that a visitor may see.
    async fn readable(&self, visitor: &Visitor) -> Result<Vec<Project>, DatabaseError> {
        let projects = self.database.projects().await?;
        Ok(self.rights.readable(visitor, projects).await)
    }

    /// Returns where a forge sends people back to.
    fn return_to(&self) -> String {
        format!("{}/sign-in/callback", self.public_url)
    }
}

/// Returns whether people can sign in at an address: not where anybody could listen in.
pub fn can_sign_in(public_url: &str) -> bool {
    Cookies::of(public_url).is_some()
}

/// Answers until `ending` is notified, and then those who are being answered.
pub async fn serve(listener: TcpListener, site: Site, ending: Arc<Notify>) {
    let (limits, proxies) = (site.limits, site.proxies.clone());
    connections::serve(listener, router(site), limits, proxies, ending).await;
}

/// Returns everything that the server answers.
///
/// Those who serve it tell the address of each peer: without it, nobody is on this machine.
pub fn router(site: Site) -> Router {
    table(site).into_router()
}

/// Returns the table of all routes.
pub fn table(site: Site) -> Table {
    let Site {
        database,
        arrived,
        live,
        public_url,
        readers,
        limits,
        forges,
        acted,
        patience,
        proxies,
        sizes,
    } = site;
    let app = App {
        database,
        arrived,
        stranger: Arc::new(Stranger::new()),
        room: Room::new(),
        limits,
        readers,
        rights: Permissions::new(forges.clone(), patience),
        forges,
        acted,
        cookies: Cookies::of(&public_url),
        live,
        origin: origin::of(&public_url).into(),
        renderer: Arc::new(Renderer::new()),
        logs: Indexes::default(),
        reading: Arc::new(Semaphore::new(MOST_READING)),
        downloads: Places::new(MOST_DOWNLOADS, DOWNLOADS_OF_ONE),
        public_url: public_url.trim_end_matches('/').into(),
        watched: pages::Watched::default(),
        watchers: Places::new(MOST_WATCHERS, WATCHED_BY_ONE),
        aside: Aside::new(),
        sign_ins: Turns::new(SIGN_INS, SIGN_INS_IN),
        proxies,
        sizes,
        readiness: Readiness::default(),
    };
    let all = [
        webhook::routes,
        health::routes,
        metrics::routes,
        openapi::routes,
        api::routes,
        sign_in::routes,
        apps::routes,
        acting::routes,
        caches::routes,
        pages::routes,
    ];
    all.into_iter().fold(Table::new(app), |table, routes| routes(table))
}
