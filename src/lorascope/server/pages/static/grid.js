// The grid of cards: how large its pictures are, and how a long list is scrolled. Of a list of many pages only those near
// what is in sight are on the page; the others are empty boxes of their height.

const WIDTHS = [7, 9, 11.5, 15, 19, 26, 38]; // rem
const COLUMNS = [1, 2, 3, 4, 6, 8, 12, 16, 24]; // a page of 48 cards ends with a full row
const NEAR = "150% 0px";
const root = document.documentElement;
const size = document.getElementById("size");

function apply() {
  const chosen = Number(localStorage.getItem("lorascope.size") ?? 3);
  if (size) size.value = chosen;
  root.style.setProperty("--size", `${WIDTHS[chosen]}rem`);
  const rest = document.getElementById("endless");
  const first = document.querySelector("#results > .cards");
  for (const name of ["--columns", "--least"]) root.style.removeProperty(name);
  if (!rest || !first) return;
  const rem = parseFloat(getComputedStyle(root).fontSize);
  const fitting = Math.max(1, Math.floor(first.clientWidth / (WIDTHS[chosen] * rem)));
  root.style.setProperty("--least", "0px"); // so many columns always fit
  root.style.setProperty("--columns", COLUMNS.findLast((columns) => columns <= fitting));
}

size?.addEventListener("input", () => {
  localStorage.setItem("lorascope.size", size.value);
  apply();
});

const seen = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => (isIntersecting ? fill(target) : empty(target))), { rootMargin: NEAR });

/** Make a box for every page but the first. */
function begin() {
  apply();
  const rest = document.getElementById("endless");
  if (!rest || rest.children.length) return;
  const first = document.querySelector("#results > .cards");
  const columns = getComputedStyle(first).gridTemplateColumns.split(" ").length;
  const row = first.clientHeight / Math.ceil(first.children.length / columns);
  const { pages, total, address } = rest.dataset;
  const boxes = []; // put in at once: the browser lays the page out anew for each that is looked at in between
  for (let page = 2; page <= Number(pages); page++) {
    const list = Object.assign(document.createElement("ul"), { className: "cards" });
    const count = Math.min(48, Number(total) - 48 * (page - 1));
    list.dataset.address = `${address}${address.includes("?") ? "&" : "?"}page=${page}`;
    list.style.minHeight = `${Math.ceil(count / columns) * row}px`;
    boxes.push(list);
  }
  rest.append(...boxes);
  for (const list of boxes) seen.observe(list);
}

async function fill(list) {
  if (list.children.length || list.dataset.waiting) return;
  list.dataset.waiting = "1";
  try {
    const answer = await fetch(list.dataset.address, { headers: { "HX-Request": "true" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    list.replaceChildren(...page.querySelector(".cards").children);
    list.style.minHeight = "";
    document.dispatchEvent(new Event("drawn"));
  } finally {
    delete list.dataset.waiting;
  }
}

function empty(list) {
  if (!list.children.length || list.contains(document.activeElement)) return;
  list.style.minHeight = `${list.clientHeight}px`;
  list.replaceChildren();
}

document.addEventListener("htmx:after:swap", begin);
window.addEventListener("resize", apply);
begin();
