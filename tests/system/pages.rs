//! Pages in a real browser: what a person sees and does who follows a failure to its log.

use std::fs;

use crate::browser::{Browser, ENTER, ESCAPE};
use crate::environment::Environment;
use crate::serve::{Pushed, Server, newest};

#[test]
fn a_person_finds_out_why_a_push_failed() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let server = Server::start(&environment);
    pushed.add();
    newest(&environment, &pushed.push("first\n"), "succeeded");
    pushed.work.write("src/fail", "");
    let run = newest(&environment, &pushed.push("second\n"), "failed");
    let run = format!("/runs/{}", run["id"]);

    let browser = Browser::start(&environment);
    browser.open(&server.url);
    browser.check("overview");
    // What is broken comes first, and leads to why.
    browser.click("bread main");
    assert_eq!(browser.path(), run);
    browser.wait("return document.querySelector('main').innerText.includes('this build fails')");
    browser.wait(
        "return document.querySelector('main').innerText.includes(\"nix build 'git+file://\")",
    );
    browser.check("run");
    browser.click("Whole log");
    browser.wait("return document.querySelector('#lines').innerText.includes('this build fails')");
    browser.check("log");

    // By keyboard: to the next error, to a link, to the search.
    browser.open(&format!("{}{}", server.url, browser.path().replace("?end", "")));
    browser.press(&['/']);
    browser.wait("return document.activeElement.name === 'q'");
    browser.press(&['f', 'a', 'i', 'l', 's', ENTER]);
    browser.wait(
        "return document.querySelector('.chosen')?.innerText.includes('this build fails') ?? false",
    );
    let line = browser.path();
    assert!(line.contains("/log#L"), "{line}");
    browser.open(&format!("{}{line}", server.url));
    browser.wait("return document.querySelectorAll('.chosen').length === 1");
    browser.press(&['?']);
    browser.wait("return document.querySelector('dialog').open");
    browser.check("keys");
    browser.press(&[ESCAPE]);
    browser.wait("return !document.querySelector('dialog').open");

    browser.open(&format!("{}/", server.url));
    browser.press(&['j']);
    browser.press(&[ENTER]);
    browser.wait(&format!("return location.pathname === '{run}'"));
    browser.press(&['n']);
    browser.wait("return document.activeElement.textContent.includes('x86_64-linux')");
    browser.press(&[ENTER]);
    browser.wait("return location.pathname.includes('/jobs/')");
    browser.check("job");

    for (name, path) in [
        ("project", "/projects/bread"),
        ("branch", "/projects/bread/heads/main"),
        ("cache", "/projects/bread/cache"),
        ("settings", "/projects/bread/settings"),
        ("queue", "/queue"),
        ("deliveries", "/deliveries"),
        ("health", "/health"),
    ] {
        browser.open(&format!("{}{path}", server.url));
        browser.check(name);
    }
    browser.was_content();

    // What is not there is a page, too; the browser itself complains about the status.
    browser.open(&format!("{}/runs/99", server.url));
    browser.wait("return document.querySelector('h1').innerText === 'Nothing is here'");
    browser.check("nothing");
    drop(browser);
    server.end();
}

#[test]
fn a_page_follows_a_run_and_needs_no_script() {
    let environment = Environment::new().with("no_proxy", "*");
    let pushed = Pushed::new(&environment);
    let gate = environment.path("gate");
    pushed.work.write("src/wait", &gate.display().to_string());
    let server = Server::start(&environment);
    pushed.add();
    let commit = pushed.push("first\n");
    let run = newest(&environment, &commit, "running");
    let run = format!("{}/runs/{}", server.url, run["id"]);

    let browser = Browser::start(&environment);
    browser.open(&run);
    browser.check("running");
    browser.run("window.isSamePage = true");
    browser.wait("return document.querySelector('h1').innerText.includes('running')");
    fs::write(&gate, "").unwrap();
    browser.wait("return document.querySelector('h1').innerText.includes('succeeded')");
    assert_eq!(browser.run("return window.isSamePage"), true, "it was not loaded anew");
    browser.was_content();

    browser.scripts(false);
    browser.open(&server.url);
    browser.click("bread");
    browser.click("main");
    browser.click("#1");
    assert!(run.ends_with(&browser.path()), "{}", browser.path());
    browser.was_content();
    drop(browser);
    server.end();
}
