//! A browser without a screen, driven by the WebDriver protocol: what it takes to test pages, and no more.
//!
//! Needs the programs `chromium` and `chromedriver`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::environment::Environment;

/// How long anything on a page may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the protocol calls a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The keys that are no characters.
pub(crate) const ENTER: char = '\u{e007}';
pub(crate) const ESCAPE: char = '\u{e00c}';

/// Finds what a person with other senses or hands would stumble over. See there for what it checks.
const CHECKS: &str = include_str!("browser/checks.js");

/// A browser with one window.
pub(crate) struct Browser {
    runtime: Runtime,
    client: reqwest::Client,
    driver: Child,
    /// The address of the session.
    session: String,
}

impl Browser {
    pub(crate) fn start(environment: &Environment) -> Self {
        let home = environment.path("home");
        let mut driver = environment
            .command("chromedriver", &home)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`chromedriver` starts; hint: apt-get install chromium chromium-driver");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("chromedriver says on which port it is").unwrap();
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // Another test may have done so already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { runtime: Runtime::new().unwrap(), client, driver, session };
        let data = environment.path("chromium").display().to_string();
        let options = json!({ "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", format!("--user-data-dir={data}"),
        ] });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let made = browser.post("", wanted);
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().unwrap());
        browser
    }

    fn call(&self, request: reqwest::RequestBuilder) -> Result<Value, Value> {
        let answer: Value =
            self.runtime.block_on(async { request.send().await.unwrap().json().await.unwrap() });
        if answer["value"]["error"].is_string() { Err(answer) } else { Ok(answer["value"].clone()) }
    }

    #[track_caller]
    fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.session)).json(&body);
        self.call(request).unwrap_or_else(|error| panic!("{path}: {error:#}"))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.session));
        self.call(request).unwrap_or_else(|error| panic!("{path}: {error:#}"))
    }

    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    /// Returns the address, without the server.
    pub(crate) fn path(&self) -> String {
        self.run("return location.pathname + location.search + location.hash")
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Runs a script on the page; returns what that returns.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Clicks the first link with a text in it.
    #[track_caller]
    pub(crate) fn click(&self, text: &str) {
        let link = self.post("/element", json!({ "using": "partial link text", "value": text }));
        let id = link[ELEMENT].as_str().unwrap();
        self.post(&format!("/element/{id}/click"), json!({}));
    }

    /// Presses keys, one after the other.
    #[track_caller]
    pub(crate) fn press(&self, keys: &[char]) {
        let presses = keys.iter().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        let actions =
            json!([{ "type": "key", "id": "keys", "actions": presses.collect::<Vec<_>>() }]);
        self.post("/actions", json!({ "actions": actions }));
    }

    /// Waits until a script returns something true.
    #[track_caller]
    pub(crate) fn wait(&self, script: &str) {
        let started = Instant::now();
        while self.run(script) != true {
            let text = self.run("return location.href + '\\n' + document.body.innerText");
            assert!(
                started.elapsed() < PATIENCE,
                "{script}: {}",
                text.as_str().unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn command(&self, name: &str, parameters: Value) {
        self.post("/goog/cdp/execute", json!({ "cmd": name, "params": parameters }));
    }

    /// Has the page so wide and in light or dark colours.
    pub(crate) fn look(&self, width: u32, scheme: &str) {
        let size =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Switches scripts of pages off or on, from the next page on.
    pub(crate) fn scripts(&self, are_on: bool) {
        self.command("Emulation.setScriptExecutionDisabled", json!({ "value": !are_on }));
    }

    /// Fails if something on the page cannot be read or used by everybody; keeps a picture if there is a place for it.
    #[track_caller]
    pub(crate) fn check(&self, name: &str) {
        for width in [1280, 360] {
            for scheme in ["light", "dark"] {
                self.look(width, scheme);
                let found = self.run(CHECKS);
                assert_eq!(found, json!([]), "{name}, {width} wide, {scheme}: {found:#}");
                self.ask_axe(&format!("{name}, {width} wide, {scheme}"));
                self.keep_picture(&format!("{name}-{width}-{scheme}.png"));
            }
        }
        self.look(1280, "light");
    }

    /// Asks for another opinion, if its script is at hand.
    #[track_caller]
    fn ask_axe(&self, name: &str) {
        let Ok(file) = std::env::var("LEVAIN_AXE") else { return };
        let axe = std::fs::read_to_string(file).unwrap();
        self.run(&format!("{axe}; window.axe = axe;"));
        let ask = "const done = arguments[arguments.length - 1];
            axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
                .then((found) => done(found.violations.map((v) => [v.id, v.help, v.nodes.map((n) => n.html).slice(0, 3)])))
                .catch((error) => done([String(error)]));";
        let found = self.post("/execute/async", json!({ "script": ask, "args": [] }));
        assert_eq!(found, json!([]), "{name}: {found:#}");
    }

    fn keep_picture(&self, name: &str) {
        let Some(directory) = std::env::var_os("LEVAIN_PICTURES") else { return };
        let picture = self.get("/screenshot");
        let picture = data_encoding::BASE64.decode(picture.as_str().unwrap().as_bytes()).unwrap();
        std::fs::write(std::path::Path::new(&directory).join(name), picture).unwrap();
    }

    /// Fails if the browser complained since it was asked last: about a script, or about what the policy forbids.
    #[track_caller]
    pub(crate) fn was_content(&self) {
        let said = self.post("/se/log", json!({ "type": "browser" }));
        assert_eq!(said, json!([]), "{said:#}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session, the driver does not.
        drop(self.call(self.client.delete(&self.session)));
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
