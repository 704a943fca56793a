// What a person keeps in this browser: favourites, and up to four adapters to compare.

import { say } from "./copy.js";

const MOST = 4;
const tray = document.getElementById("tray");

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
    say("This browser does not let the page keep anything.");
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
  tray.querySelector("ul").replaceChildren(...compared.map(chip));
  const link = tray.querySelector("a");
  link.href = address("/compare", [...keys]);
  link.textContent = compared.length < 2 ? "Choose one more to compare" : `Compare ${compared.length}`;
  link.toggleAttribute("aria-disabled", compared.length < 2);
}

function chip({ key, name }) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
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

function toggleFavourite(key) {
  const favourites = kept("favourites");
  keep("favourites", favourites.includes(key) ? favourites.filter((other) => other !== key) : [...favourites, key]);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-tray], [data-favourite]");
  if (button?.dataset.tray) toggleTray(button.dataset);
  else if (button?.dataset.favourite) toggleFavourite(button.dataset.favourite);
  if (event.target.closest("[aria-disabled]")) event.preventDefault();
});
document.addEventListener("htmx:after:swap", draw);
window.addEventListener("storage", draw); // another tab changed it
window.addEventListener("pageshow", draw); // the page came back from the browser's cache
draw();
