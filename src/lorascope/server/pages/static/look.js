// The light box: a scene with a LoRA, large. Hold it, or the space key, and it is the one without. Left and right go
// through the scenes, up and down through the LoRAs of the page.

const box = document.getElementById("look");
const stage = box.querySelector(".stage");
const [shown, without] = stage.querySelectorAll("img");
const which = box.querySelector(".which");
const flip = box.querySelector("[data-flip]");
const beside = box.querySelector("[data-beside]");
const scenes = new Map(); // of each LoRA, by its key
let opener; // what the box shows: the picture on the page that was pressed
let place = 0;

document.addEventListener("click", ({ target }) => {
  const picture = target.closest("[data-look]");
  if (picture) open(picture);
});
box.addEventListener("click", ({ target }) => {
  const { step, turn } = target.dataset;
  if (step) move(Number(step));
  else if (turn) next(Number(turn));
  else if (target === flip) turnOver(flip.ariaPressed !== "true");
  else if (target === beside) putBeside(beside.ariaPressed !== "true");
  else if (target.matches("[data-close]") || target === box) box.close();
});
for (const [begin, end] of [["pointerdown", "pointerup"], ["pointerdown", "pointercancel"], ["pointerdown", "pointerleave"]]) {
  stage.addEventListener(begin, ({ target }) => target.closest("button") || turnOver(true));
  stage.addEventListener(end, () => turnOver(false));
}
stage.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press is a hold
box.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: () => move(-1), ArrowRight: () => move(1), ArrowUp: () => next(-1), ArrowDown: () => next(1) };
  const step = steps[event.key] ?? (event.key === " " && !event.target.closest("button, a") && (() => turnOver(true)));
  if (!step) return;
  event.preventDefault();
  step();
});
box.addEventListener("keyup", ({ key, target }) => key === " " && !target.closest("button, a") && turnOver(false));
box.addEventListener("close", () => {
  turnOver(false);
  opener?.focus({ preventScroll: true });
  opener?.scrollIntoView({ block: "nearest" });
});

async function open(picture) {
  opener = picture;
  place = Number(picture.dataset.place);
  const { look: key, name, page } = picture.dataset;
  const link = box.querySelector(".name a");
  [link.href, link.textContent] = [page, name];
  const [url, bare_url] = [...picture.querySelectorAll("img")].map((image) => image.currentSrc || image.src);
  show({ url, bare_url, prompt: "" }, picture.querySelector(".tiny"));
  box.classList.toggle("mature", Boolean(picture.closest(".mature:not(.shown)")));
  box.classList.remove("shown");
  if (!box.open) {
    box.showModal();
    stage.focus();
  }
  if (!scenes.has(key)) {
    const protocol = new URLSearchParams(location.search).get("protocol") ?? "";
    const answer = await fetch(`/api/v1/adapters/${encodeURIComponent(key)}/previews?protocol=${encodeURIComponent(protocol)}`);
    if (!answer.ok) return;
    scenes.set(key, await answer.json());
  }
  if (opener === picture) move(0);
}

/** Show another scene of the same LoRA; 0 shows this one. */
function move(by) {
  const all = scenes.get(opener.dataset.look);
  if (!all?.length) return;
  const at = Math.max(0, all.findIndex((scene) => scene.place === place));
  const scene = all[(at + by + all.length) % all.length];
  place = scene.place;
  show(scene, shown.classList.contains("tiny"));
}

function show({ url, bare_url: bare, large_url, large_bare_url, prompt }, tiny) {
  fill(shown, url, large_url);
  for (const image of [shown, without]) image.classList.toggle("tiny", Boolean(tiny));
  without.hidden = flip.disabled = beside.disabled = !bare;
  if (bare) fill(without, bare, large_bare_url);
  shown.alt = `with ${opener.dataset.name}: ${prompt}`;
  without.alt = `without: ${prompt}`;
  document.getElementById("look-scene").textContent = prompt;
  say();
}

/** Show a picture at once in the size of the cards, which is here already, and large as soon as that has come. */
function fill(image, address, large) {
  const wanted = large ?? address;
  image.dataset.wanted = wanted;
  if (new URL(wanted, location).href !== image.src) image.src = address;
  if (!large) return;
  const coming = new Image();
  coming.src = large;
  coming.decode().then(() => image.dataset.wanted === large && (image.src = large), () => {});
}

/** Show the same scene of the next LoRA on the page. */
function next(by) {
  const all = [...document.querySelectorAll("main [data-look]")].filter((one) => one.checkVisibility());
  const first = all.filter((one, at) => all.findIndex((other) => other.dataset.look === one.dataset.look) === at);
  const at = first.findIndex((one) => one.dataset.look === opener.dataset.look);
  const other = first[at + by];
  if (!other) return;
  const scene = place;
  open(other);
  place = scene;
}

function turnOver(over) {
  flip.ariaPressed = over;
  stage.classList.toggle("over", over);
  say();
}

function putBeside(both) {
  beside.ariaPressed = both;
  stage.classList.toggle("both", both);
  say();
}

function say() {
  which.textContent = stage.matches(".over, .both") ? "without" : "with"; // beside it, the style sheet says "with"
}
