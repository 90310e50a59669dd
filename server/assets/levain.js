// What pages can do besides, where scripts run: they follow what changes, and listen to the keyboard. Every page works
// without this file. Whatever it puts on a page was made by the server, which escapes it.
"use strict";
(() => {
  const $ = (selector, of = document) => of.querySelector(selector);
  const $$ = (selector, of = document) => [...of.querySelectorAll(selector)];
  const say = (text) => { $("#said").textContent = text; };
  const made = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };

  // --- Pages that change ---

  let watching = null;
  let isStale = false;

  function watch() {
    if (watching) watching.close();
    watching = null;
    const address = document.body.dataset.live;
    if (!address) return;
    watching = new EventSource(address);
    watching.addEventListener("changed", () => {
      isStale = true;
      if (!document.hidden) refresh();
    });
  }

  // Asks for the page once more and takes its content; what is open stays open, and the focus where it is.
  async function refresh() {
    isStale = false;
    let text;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (!answer.ok) return;
      text = await answer.text();
    } catch {
      return;
    }
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const open = $$("main details").map((details) => details.open);
    const focused = document.activeElement?.closest("main a[href]")?.getAttribute("href");
    $("main").replaceChildren(...$("main", fresh).childNodes);
    $$("main details").forEach((details, index) => { details.open = open[index] ?? details.open; });
    if (focused) $$("main a[href]").find((a) => a.getAttribute("href") === focused)?.focus({ preventScroll: true });
    document.title = fresh.title;
    const address = fresh.body.dataset.live;
    if (address) document.body.dataset.live = address; else delete document.body.dataset.live;
    say($(".verdict h1, h1")?.textContent.trim().replace(/\s+/g, " ") ?? "");
    watch();
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden && isStale) refresh(); });
  addEventListener("pagehide", () => watching?.close());

  // --- Logs ---

  // How many lines a page holds; those farthest away go first.
  const MOST = 6000;
  const lines = $("#lines");
  let following = null;
  let goesAlong = false;

  const numberOf = (row) => Number(row.id.slice(1));
  const first = () => (lines.firstElementChild ? numberOf(lines.firstElementChild) : 1);
  const last = () => (lines.lastElementChild ? numberOf(lines.lastElementChild) : 0);
  const total = () => Number(lines.dataset.total);

  async function ask(query) {
    const answer = await fetch(`${lines.dataset.log}/lines?${query}`);
    return answer.ok ? answer.text() : "";
  }

  function append(html) {
    lines.insertAdjacentHTML("beforeend", html);
    while (lines.childElementCount > MOST) lines.firstElementChild.remove();
    lines.dataset.total = String(Math.max(total(), last()));
    choose();
  }

  let isAsking = false;
  async function more(isLater) {
    if (isAsking || (isLater ? last() >= total() : first() <= 1)) return;
    isAsking = true;
    if (isLater) {
      append(await ask(`first=${last() + 1}`));
    } else {
      const anchor = lines.firstElementChild;
      const before = anchor.getBoundingClientRect().top;
      lines.insertAdjacentHTML("afterbegin", await ask(`last=${first() - 1}`));
      scrollBy(0, anchor.getBoundingClientRect().top - before);
      while (lines.childElementCount > MOST) lines.lastElementChild.remove();
    }
    isAsking = false;
  }

  // Goes to a line, wherever it is.
  async function goTo(number, isAddress = true) {
    if (!document.getElementById(`L${number}`)) {
      lines.innerHTML = await ask(`first=${Math.max(1, number - 100)}`);
    }
    const row = document.getElementById(`L${number}`);
    if (!row) return;
    if (isAddress) history.replaceState(null, "", `#L${number}`);
    choose();
    row.scrollIntoView({ block: "center" });
  }

  const chosen = () => /^#L(\d+)(?:-L(\d+))?$/.exec(location.hash)?.slice(1).map((text) => text && Number(text));

  // Marks the lines that the address names, as in `#L10-L20`.
  function choose() {
    const [from, to] = chosen() ?? [];
    $$("p.chosen", lines).forEach((row) => row.classList.remove("chosen"));
    if (!from) return;
    for (let number = Math.max(from, first()); number <= Math.min(to ?? from, last()); number++) {
      document.getElementById(`L${number}`)?.classList.add("chosen");
    }
  }

  async function find(query, isBack) {
    const here = chosen()?.[0] ?? (isBack ? last() + 1 : first() - 1);
    const from = isBack ? here - 1 : here + 1;
    const answer = await fetch(`${lines.dataset.log}/find?${query}&from=${Math.max(0, from)}${isBack ? "&back" : ""}`);
    const { line } = answer.ok ? await answer.json() : {};
    if (line) goTo(line); else say("Nothing is found.");
  }

  function follow() {
    const button = $("#follow");
    if (!button) return;
    goesAlong = !goesAlong;
    button.setAttribute("aria-pressed", String(goesAlong));
    if (goesAlong && last() < total()) goTo(total(), false); else if (goesAlong) scrollTo(0, document.body.scrollHeight);
  }

  function startFollowing() {
    $("#end").after(made("button", { id: "follow", type: "button", textContent: "Follow", onclick: follow }));
    $("#follow").setAttribute("aria-pressed", "false");
    following = new EventSource(`${lines.dataset.follow}?after=${total()}`);
    following.addEventListener("lines", (event) => {
      const known = total();
      if (last() >= known) append(event.data); else lines.dataset.total = event.lastEventId;
      if (goesAlong) scrollTo(0, document.body.scrollHeight);
    });
    following.addEventListener("end", () => { following.close(); say("The log has ended."); });
  }

  if (lines) {
    $$("#earlier, #later").forEach((links) => { links.hidden = true; });
    const near = () => innerHeight * 2;
    addEventListener("scroll", () => {
      const box = lines.getBoundingClientRect();
      if (box.bottom - innerHeight < near()) more(true);
      if (box.top > -near()) more(false);
      // Whoever scrolls back wants to read.
      const isAtEnd = innerHeight + scrollY >= document.body.scrollHeight - 200;
      if (goesAlong && !isAtEnd && last() >= total()) follow();
    }, { passive: true });
    lines.addEventListener("click", (event) => {
      const number = event.target.closest("a")?.textContent;
      const from = chosen()?.[0];
      if (!number) return;
      event.preventDefault();
      const [a, b] = [from, Number(number)].sort((x, y) => x - y);
      history.replaceState(null, "", event.shiftKey && from && a !== b ? `#L${a}-L${b}` : `#L${number}`);
      choose();
    });
    $("#search").addEventListener("submit", (event) => {
      event.preventDefault();
      find(`q=${encodeURIComponent($("#search input").value)}`, false);
    });
    $("#error").addEventListener("click", (event) => { event.preventDefault(); find("error", false); });
    addEventListener("hashchange", () => { const at = chosen(); if (at) goTo(at[0], false); });
    const at = chosen();
    if (at) goTo(at[0], false); else if (location.search.startsWith("?end")) scrollTo(0, document.body.scrollHeight);
    if (lines.dataset.follow) startFollowing();
  }

  // --- Keyboard ---

  const KEYS = [
    ["/", "search"],
    ["j, k", "next or previous item"],
    ["n, p", "next or previous failure, in a log error"],
    ["f", "follow a log that is written, or stop"],
    ["y", "copy a link that stays"],
    [".", "end of a log, or top of the page"],
    ["?", "this help"],
  ];
  const SETTING = "levain-keys";
  const areOn = () => { try { return localStorage.getItem(SETTING) !== "off"; } catch { return true; } };
  const help = made("dialog", {}, made("h2", { id: "keys", textContent: "Keyboard" }));
  help.setAttribute("aria-labelledby", "keys");
  const list = made("dl", { className: "facts-list" });
  for (const [key, meaning] of KEYS) list.append(made("dt", {}, made("kbd", { textContent: key })), made("dd", { textContent: meaning }));
  const choice = made("input", { type: "checkbox", checked: areOn() });
  choice.addEventListener("change", () => { try { localStorage.setItem(SETTING, choice.checked ? "on" : "off"); } catch { /* Nothing is kept then. */ } });
  help.append(list, made("p", {}, made("label", {}, choice, " Listen to these keys")), made("form", { method: "dialog" }, made("button", { textContent: "Close" })));
  document.body.append(help);
  $("footer p:last-child").prepend(made("button", { type: "button", textContent: "Keyboard", onclick: () => help.showModal() }), " ");

  function step(selector, by) {
    const items = $$(selector).filter((item) => item.offsetParent !== null);
    const here = items.findIndex((item) => item.classList.contains("here"));
    const next = items[here < 0 ? (by > 0 ? 0 : items.length - 1) : here + by];
    if (!next) return;
    $$(".here").forEach((item) => item.classList.remove("here"));
    next.classList.add("here");
    $("a.main", next)?.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  async function copy() {
    const link = new URL($("link[rel=canonical]").getAttribute("href") + location.hash, location.href).href;
    history.replaceState(null, "", link);
    try {
      await navigator.clipboard.writeText(link);
      say("The link is copied.");
    } catch {
      say("The link is in the address bar.");
    }
  }

  const fail = (by) => (lines ? find("error", by < 0) : step("[data-failure]", by));
  const DO = {
    "/": () => { const field = $("#search input") ?? $("#find"); field.focus(); field.select(); },
    j: () => step("[data-item]", 1),
    k: () => step("[data-item]", -1),
    n: () => fail(1),
    p: () => fail(-1),
    f: follow,
    y: copy,
    ".": () => (lines ? goTo(total(), false) : scrollTo(0, 0)),
    "?": () => help.showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (!areOn() || event.ctrlKey || event.altKey || event.metaKey || help.open) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const action = DO[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  watch();
})();
