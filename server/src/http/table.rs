//! The table of all routes: the only way to answer a request, so that no route is without a word on who may use it.
//!
//! A route is added by [`Table::get`] or [`Table::post`], with what it needs:
//!
//! ```text
//! pub(super) fn routes(table: Table) -> Table {
//!     table
//!         .get("/", Needs::Visitor, start)
//!         .get("/projects/{project}", Needs::Project(Right::Read), project)
//!         .get("/runs/{run}", Needs::Run(Right::Read), run)
//!         .post("/api/v1/runs/{run}/cancel", Needs::Run(Right::Write), cancel)
//! }
//!
//! async fn project(State(app): State<App>, OfProject(project): OfProject) -> Result<Response, Missing> { … }
//! ```
//!
//! and a line in [`super::table`]. The handler is called only for those who have the right, and is handed what the
//! right is to: it takes [`OfProject`], [`OfRun`] or [`Visitor`](super::visitor::Visitor) as arguments and looks
//! neither up by itself. Everybody else is answered here, always in the same way. Lists, which need nothing but show
//! each their own, ask `App::readable` which there are.
//!
//! The tests in `tests/it/routes.rs` ask every route of this table as everybody; a new route needs a line there if its
//! path has a parameter that is not `{project}` or `{run}`.

use std::convert::Infallible;

use axum::Router;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::header::{
    CACHE_CONTROL, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};

use super::permissions::Permissions;
use super::shares::Whose;
use super::visitor::{Unknown, Visitor, own_origins, visitor};
use super::{App, origin, pages};
use crate::database::DatabaseError;
use crate::pages::renderer::PageError;
use crate::projects::{Project, ProjectError};
use crate::rights::Right;
use crate::runs::{Run, RunId};

/// What the address of a page ends with if its model is asked for, as JSON.
pub(super) const TWIN: &str = ".json";

/// What a route needs from whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing, and everybody is answered the same.
    Nothing,
    /// A signature, which the route itself checks before anything else.
    Signature,
    /// Nothing, but not everybody is answered the same.
    Visitor,
    /// To be the operator of this server, signed in.
    Operator,
    /// A right to the project that `{project}` in its path names.
    Project(Right),
    /// A right to the project of the run that `{run}` in its path numbers.
    Run(Right),
    /// The right to write to the project of the run that `{run}` numbers, or to have written its pull request and to be
    /// able to read it.
    RunOrAuthor,
}

/// A route, for those who check them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// What it needs.
    pub needs: Needs,
}

/// All routes.
pub struct Table {
    app: App,
    router: Router<App>,
    listed: Vec<Listed>,
}

impl Table {
    pub(super) fn new(app: App) -> Self {
        Self { app, router: Router::new(), listed: Vec::new() }
    }

    /// Adds a route that changes nothing.
    pub(super) fn get<H, T>(self, path: &'static str, needs: Needs, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Method::GET, MethodFilter::GET, path, needs, handler)
    }

    /// Adds a route that changes something.
    pub(super) fn post<H, T>(self, path: &'static str, needs: Needs, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Method::POST, MethodFilter::POST, path, needs, handler)
    }

    fn add<H, T>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        needs: Needs,
        handler: H,
    ) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let guard = Guard { app: self.app.clone(), needs };
        let route = on(filter, handler).route_layer(middleware::from_fn_with_state(guard, check));
        self.router = self.router.route(path, route);
        self.listed.push(Listed { method, path, needs });
        self
    }

    /// Returns every route there is.
    pub fn listed(&self) -> &[Listed] {
        &self.listed
    }

    /// Returns what answers.
    pub fn into_router(self) -> Router {
        let dressed = middleware::from_fn_with_state(self.app.clone(), pages::dress);
        self.router.layer(dressed).with_state(self.app)
    }
}

#[derive(Clone)]
struct Guard {
    app: App,
    needs: Needs,
}

/// The project that a request is about, which whoever asks has the right to.
#[derive(Clone, Debug)]
pub(super) struct OfProject(pub(super) Project);

/// The run that a request is about, which whoever asks has the right to, and its project.
#[derive(Clone, Debug)]
pub(super) struct OfRun(pub(super) Run, pub(super) Project);

/// Why a request is not answered.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is nothing, or nothing for this visitor.
    Nothing,
    /// Whoever asks may see it, but not do that.
    Forbidden,
    /// Nobody may do that here: the server is in read-only mode.
    ReadOnly,
    /// Nobody says who they are, and those who are known may perhaps do that.
    Anonymous,
    /// The token or the session is none.
    Unknown,
    /// A page of somebody else asks, or nobody knows whose.
    Foreign,
    /// The database does not say.
    Database(DatabaseError),
    /// The page cannot be made.
    Page(PageError),
    /// A file cannot be read.
    File(std::io::Error),
    /// The machine gives no secret.
    Secret(ProjectError),
    /// What was to be done broke: a mistake of the product's.
    Broken(String),
}

impl From<ProjectError> for Refused {
    fn from(error: ProjectError) -> Self {
        Self::Secret(error)
    }
}

impl From<PageError> for Refused {
    fn from(error: PageError) -> Self {
        Self::Page(error)
    }
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

impl From<DatabaseError> for Refused {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let bearer = [(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
        match self {
            Self::Nothing => StatusCode::NOT_FOUND.into_response(),
            Self::Forbidden => (StatusCode::FORBIDDEN, "you may not do that\n").into_response(),
            Self::ReadOnly => {
                let why = "this server is read-only: it changes nothing that others build from\nhint: do it on the server that reports to the forge\n";
                (StatusCode::FORBIDDEN, why).into_response()
            }
            Self::Anonymous => {
                (StatusCode::UNAUTHORIZED, bearer, "sign in, or send a token\n").into_response()
            }
            Self::Unknown => {
                (StatusCode::UNAUTHORIZED, bearer, "this token is not known, or not any more\n")
                    .into_response()
            }
            Self::Foreign => {
                (StatusCode::FORBIDDEN, "this was not sent by a page of this server\n")
                    .into_response()
            }
            Self::Database(error) => {
                tracing::error!(%error, "cannot answer");
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            Self::Secret(error) => {
                tracing::error!(%error, "cannot make a secret");
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            Self::Broken(error) => {
                tracing::error!(error, "cannot answer");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
            Self::Page(error) => {
                tracing::error!(%error, "cannot show a page");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
            Self::File(error) => {
                tracing::warn!(%error, "cannot read a log");
                StatusCode::NOT_FOUND.into_response()
            }
        }
    }
}

/// Lets those pass who have the right, and answers all others.
async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let Guard { app, needs } = guard;
    if matches!(needs, Needs::Nothing | Needs::Signature) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let has_body = origin::changes_something(&parts.method);
    let limit = app.limits.body;
    let answered = async {
        match admit(&app, needs, &mut parts).await {
            Ok(()) => next.run(Request::from_parts(parts, body)).await,
            Err(refused) => refused.into_response(),
        }
    };
    private(match has_body {
        // The form may never arrive as a whole.
        true => match tokio::time::timeout(limit, answered).await {
            Ok(response) => response,
            Err(_elapsed) => StatusCode::REQUEST_TIMEOUT.into_response(),
        },
        false => answered.await,
    })
}

/// Keeps an answer that is meant for one visitor from all others, and addresses from other servers.
fn private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(CACHE_CONTROL, "no-store");
    set(REFERRER_POLICY, "no-referrer");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

async fn admit(app: &App, needs: Needs, parts: &mut Parts) -> Result<(), Refused> {
    let visitor = match visitor(app, parts).await? {
        Ok(visitor) => visitor,
        Err(Unknown) => return Err(Refused::Unknown),
    };
    if origin::changes_something(&parts.method)
        && visitor.is_browser()
        && !origin::is_own(&parts.headers, &own_origins(app, parts))
    {
        return Err(Refused::Foreign);
    }
    match needs {
        Needs::Nothing | Needs::Signature | Needs::Visitor => {}
        Needs::Operator => match &visitor {
            Visitor::Person(person) if person.is_operator() => {}
            Visitor::Person(_) | Visitor::Program(_) => return Err(Refused::Forbidden),
            Visitor::Nobody | Visitor::Local => return Err(Refused::Anonymous),
        },
        Needs::Project(right) => {
            let name = parameter(parts, "project").await.ok_or(Refused::Nothing)?;
            let mut project = app.database.project_named(&name).await?;
            // The twin of a page is at the page's address with an ending. A name that has it goes before.
            if project.is_none()
                && let Some(name) = name.strip_suffix(TWIN)
            {
                project = app.database.project_named(name).await?;
            }
            let project = permitted(app, &visitor, project, right).await?;
            parts.extensions.insert(OfProject(project));
        }
        Needs::Run(_) | Needs::RunOrAuthor => {
            let text = parameter(parts, "run").await.ok_or(Refused::Nothing)?;
            let number = text.strip_suffix(TWIN).unwrap_or(&text).parse();
            let number: i64 = number.map_err(|_no_number| Refused::Nothing)?;
            let run = app.database.run(RunId::from_number(number)).await?;
            let project = match &run {
                Some(run) => app.database.project(run.project).await?,
                None => None,
            };
            let author = run.as_ref().and_then(|run| run.author);
            let is_author = project
                .as_ref()
                .is_some_and(|project| Permissions::is_author(&visitor, project, author));
            let right = match needs {
                Needs::Run(right) | Needs::Project(right) => right,
                Needs::RunOrAuthor if is_author => Right::Read,
                Needs::RunOrAuthor
                | Needs::Nothing
                | Needs::Signature
                | Needs::Visitor
                | Needs::Operator => Right::Write,
            };
            let project = permitted(app, &visitor, project, right).await?;
            let run = run.ok_or(Refused::Nothing)?;
            parts.extensions.insert(OfRun(run, project));
        }
    }
    let whose = Whose::of(&visitor, parts, &app.proxies);
    parts.extensions.insert(whose);
    parts.extensions.insert(visitor);
    Ok(())
}

/// Returns the project if the visitor has the right to it.
///
/// What a visitor may not see is refused as what is not there.
async fn permitted(
    app: &App,
    visitor: &Visitor,
    project: Option<Project>,
    needed: Right,
) -> Result<Project, Refused> {
    let right = app.rights.of(visitor, project.as_ref()).await;
    match project {
        Some(project) if right >= needed && right > Right::None => Ok(project),
        Some(_) if right > Right::None && visitor.is_nobody() => Err(Refused::Anonymous),
        Some(_) if right > Right::None => Err(Refused::Forbidden),
        Some(_) | None => Err(Refused::Nothing),
    }
}

async fn parameter(parts: &mut Parts, name: &str) -> Option<String> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let found = parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    // Nothing is called so, and PostgreSQL refuses to look.
    found.filter(|value| !value.contains('\0')).map(str::to_owned)
}

/// What a handler takes that its route does not provide.
pub(super) struct NotProvided(&'static str);

impl IntoResponse for NotProvided {
    fn into_response(self) -> Response {
        tracing::error!("a route does not provide {}", self.0);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for OfProject {
    type Rejection = NotProvided;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotProvided> {
        parts.extensions.get().cloned().ok_or(NotProvided("a project"))
    }
}

impl<S: Sync> FromRequestParts<S> for OfRun {
    type Rejection = NotProvided;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotProvided> {
        parts.extensions.get().cloned().ok_or(NotProvided("a run"))
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Routes that need nothing know nobody.
        Ok(parts.extensions.get().cloned().unwrap_or(Self::Nobody))
    }
}
