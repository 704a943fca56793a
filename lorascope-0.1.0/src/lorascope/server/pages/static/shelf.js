// What a person keeps in this browser: favourites, and up to four adapters to compare.

import { complain, say } from "./toast.js";

const MOST = 4;
const tray = document.getElementById("tray");
const list = tray.querySelector("ul");

function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(`lorascope.${name}`)) ?? [];
  } catch {
    return [];
  }
}

function keep(name, entries) {
  try {
    localStorage.setItem(`lorascope.${name}`, JSON.stringify(entries));
  } catch {
    complain("This browser does not let the page keep anything.");
  }
  draw();
}

/** The address of a page about some adapters, under the Protocol that is looked at. */
function address(path, keys) {
  const protocol = new URLSearchParams(location.search).get("protocol");
  const named = [...keys.map((key) => ["a", key]), ...(protocol ? [["protocol", protocol]] : [])];
  return named.length ? `${path}?${new URLSearchParams(named)}` : path;
}

function draw() {
  const favourites = kept("favourites");
  const compared = kept("tray");
  const keys = new Set(compared.map(({ key }) => key));
  for (const button of document.querySelectorAll("[data-favourite]")) {
    button.setAttribute("aria-pressed", favourites.includes(button.dataset.favourite));
  }
  for (const button of document.querySelectorAll("[data-tray]")) {
    button.setAttribute("aria-pressed", keys.has(button.dataset.tray));
  }
  document.querySelector("[data-favourites]").href = address("/favourites", favourites);
  tray.hidden = compared.length === 0 || location.pathname === "/compare";
  redraw(compared);
  const link = tray.querySelector("a");
  link.href = address("/compare", [...keys]);
  link.textContent = compared.length < 2 ? "Choose one more to compare" : `Compare ${compared.length}`;
  link.setAttribute("aria-disabled", compared.length < 2);
}

/** Draw the chips anew. If one had the focus, it stays there, or goes to the next one, or back to the adapter's card. */
function redraw(compared) {
  const { activeElement } = document;
  const place = [...list.children].findIndex((item) => item.contains(activeElement));
  list.replaceChildren(...compared.map(chip));
  if (place < 0) return;
  const key = `[data-tray="${CSS.escape(activeElement.dataset.tray)}"]`;
  const next = list.querySelector(key) ?? list.querySelectorAll("button")[Math.min(place, compared.length - 1)];
  (next ?? document.querySelector(`main ${key}`) ?? document.getElementById("main")).focus();
}

function chip({ key, name }) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.append(Object.assign(document.createElement("span"), { textContent: name }));
  button.dataset.tray = key;
  button.dataset.name = name;
  button.setAttribute("aria-label", `Take ${name} out`);
  item.append(button);
  return item;
}

function toggleTray({ tray: key, name }) {
  const compared = kept("tray");
  const without = compared.filter((entry) => entry.key !== key);
  if (without.length === compared.length && compared.length === MOST) {
    say(`${MOST} adapters can be compared at once. Take one out first.`);
    return;
  }
  keep("tray", without.length < compared.length ? without : [...compared, { key, name }]);
}

/** Somebody who opens the page of favourites by hand names none, and means those that are kept here. */
function showFavourites() {
  const favourites = kept("favourites");
  const named = new URLSearchParams(location.search).has("a");
  if (location.pathname === "/favourites" && !named && favourites.length) location.replace(address("/favourites", favourites));
}

function toggleFavourite(key) {
  const favourites = kept("favourites");
  keep("favourites", favourites.includes(key) ? favourites.filter((other) => other !== key) : [...favourites, key]);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-tray], [data-favourite]");
  if (button?.dataset.tray) toggleTray(button.dataset);
  else if (button?.dataset.favourite) toggleFavourite(button.dataset.favourite);
  if (event.target.closest("[aria-disabled=true]")) event.preventDefault();
});
document.addEventListener("htmx:after:swap", draw);
window.addEventListener("storage", draw); // another tab changed it
window.addEventListener("pageshow", draw); // the page came back from the browser's cache
// the sheet keeps what has the focus, and what is told, above the tray
new ResizeObserver(() => document.documentElement.style.setProperty("--tray", `${tray.offsetHeight}px`)).observe(tray);
draw();
showFavourites();
