// Returns what is wrong with a page for those who see little, see no colours, hear it, or use it by keyboard.
const wrong = [];
const shown = (element) => element.checkVisibility({ visibilityProperty: true });
const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
const name = (element) => `<${element.localName} class="${element.className}"> ${element.textContent.trim().slice(0, 40)}`;

// Nothing is wider than the screen.
if (document.documentElement.scrollWidth > innerWidth) {
  wrong.push(`the page is ${document.documentElement.scrollWidth} wide`);
  for (const element of all("main *")) if (element.getBoundingClientRect().right > innerWidth + 1) wrong.push(`too wide: ${name(element)}`);
}

// Text stands out: 4.5 to 1, or 3 to 1 if it is large.
const parse = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
const light = ([red, green, blue]) => {
  const [r, g, b] = [red, green, blue].map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
for (const element of all("body *")) {
  const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!text || element.closest("svg, .hidden, .skip")) continue;
  const style = getComputedStyle(element);
  const [a, b] = [light(parse(style.color)), light(behind(element))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  const size = parseFloat(style.fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (isLarge ? 3 : 4.5)) wrong.push(`contrast ${ratio.toFixed(2)}: ${name(element)}`);
}

// Everything has a name, and no two things have the same address.
for (const element of all("a[href], button")) {
  if (!(element.textContent.trim() || element.getAttribute("aria-label") || element.title)) wrong.push(`no name: ${name(element)}`);
}
for (const element of all("input, select")) {
  if (!(element.getAttribute("aria-label") || element.labels?.length)) wrong.push(`no label: ${name(element)}`);
}
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`twice: #${id}`);
for (const element of document.querySelectorAll("[aria-labelledby]")) {
  if (!document.getElementById(element.getAttribute("aria-labelledby"))) wrong.push(`no such label: ${name(element)}`);
}

// The page can be found one's way in: one main heading, no level left out, landmarks, a language, a title.
const levels = all("h1, h2, h3, h4").map((heading) => Number(heading.localName[1]));
if (levels.filter((level) => level === 1).length !== 1) wrong.push(`main headings: ${levels}`);
levels.forEach((level, index) => { if (level > (levels[index - 1] ?? 0) + 1) wrong.push(`a level is left out: ${levels}`); });
for (const landmark of ["main", "header", "footer", "nav[aria-label]"]) if (!document.querySelector(landmark)) wrong.push(`no ${landmark}`);
if (!document.documentElement.lang) wrong.push("no language");
if (!document.title) wrong.push("no title");

// What scrolls can be reached by keyboard.
for (const element of all("main *")) {
  const style = getComputedStyle(element);
  const scrolls = /auto|scroll/.test(style.overflowY) && element.scrollHeight > element.clientHeight + 1;
  if (scrolls && element.tabIndex < 0) wrong.push(`not reached by keyboard: ${name(element)}`);
}

// Fingers hit it: 24 by 24, unless it stands in a text or nothing else is near.
for (const element of all("button, input, .marks a")) {
  const box = element.getBoundingClientRect();
  if (element.type !== "checkbox" && (box.width < 24 || box.height < 24)) wrong.push(`too small: ${name(element)}`);
}
return wrong;
