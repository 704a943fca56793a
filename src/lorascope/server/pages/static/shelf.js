// Favourites, which the library keeps, and up to four adapters to compare, which this browser keeps.

import { complain, lost, say } from "./toast.js";

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
  const compared = kept("tray");
  const keys = new Set(compared.map(({ key }) => key));
  for (const button of document.querySelectorAll("[data-tray]")) {
    button.setAttribute("aria-pressed", keys.has(button.dataset.tray));
  }
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
    say(`${MOST} LoRAs can be compared at once. Take one out first.`);
    return;
  }
  keep("tray", without.length < compared.length ? without : [...compared, { key, name }]);
}

/** Favourites that an earlier version kept in this browser go into the library, which lets every browser see them. */
async function moveFavourites() {
  const left = [];
  for (const key of kept("favourites")) await mark(key, true).catch(() => left.push(key));
  if (left.length < kept("favourites").length) keep("favourites", left);
}

async function mark(key, favourite) {
  const answer = await fetch(`/api/v1/adapters/${encodeURIComponent(key)}/mark`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ favourite }),
  });
  if (!answer.ok) throw new Error((await answer.json()).error.message);
}

async function toggleFavourite({ favourite: key, name }, pressed) {
  try {
    await mark(key, pressed);
    for (const other of document.querySelectorAll(`[data-favourite="${CSS.escape(key)}"]`)) other.ariaPressed = pressed;
    say(pressed ? `${name} is a favourite.` : `${name} is no favourite any more.`);
  } catch (error) {
    if (error instanceof TypeError) lost();
    else complain(error.message);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-tray], [data-favourite]");
  if (button?.dataset.tray) toggleTray(button.dataset);
  else if (button?.dataset.favourite) toggleFavourite(button.dataset, button.ariaPressed !== "true");
  if (event.target.closest("[aria-disabled=true]")) event.preventDefault();
});
document.addEventListener("htmx:after:swap", draw);
document.addEventListener("drawn", draw); // more cards came
window.addEventListener("storage", draw); // another tab changed it
window.addEventListener("pageshow", draw); // the page came back from the browser's cache
// the sheet keeps what has the focus, and what is told, above the tray
new ResizeObserver(() => document.documentElement.style.setProperty("--tray", `${tray.offsetHeight}px`)).observe(tray);
draw();
moveFavourites();
