// The sidebar tab: search LoRAs by what they do; a click puts one into the selected loader, or adds a loader. The whole
// page of lorascope is a press away, in a frame; what is pressed there is loaded in the same way.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const SECONDS = 8; // that the page in a frame may take to say that it is there
const LOADERS = { LoraLoader: ["strength_model", "strength_clip"], LoraLoaderModelOnly: ["strength_model"] };

function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

async function ask(path) {
  const answer = await api.fetchApi(`/lorascope/${path}`);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error ?? `status ${answer.status}`);
  return body;
}

function set(node, name, value) {
  const widget = node.widgets?.find((one) => one.name === name);
  if (!widget) return false;
  widget.value = value;
  widget.callback?.(value);
  return true;
}

/** Put a LoRA into the selected loader, or into a new one in the middle of what is seen. */
export function use(hit) {
  let node = [...app.canvas.selectedItems].find((one) => one.widgets?.some((widget) => widget.name === "lora_name"));
  if (!node) {
    node = LiteGraph.createNode("LoraLoader");
    const [x, y, width, height] = app.canvas.visible_area ?? [0, 0, 0, 0];
    node.pos = [x + (width - node.size[0]) / 2, y + (height - node.size[1]) / 2];
    app.canvas.graph.add(node); // the graph that is seen, which may be a subgraph
    app.canvas.selectNode(node); // so that the next click replaces the LoRA
  }
  set(node, "lora_name", hit.file);
  for (const name of LOADERS[node.type] ?? ["strength_model", "strength_clip", "strength"]) set(node, name, hit.use);
  app.canvas.setDirty(true, true);
  return node;
}

function picture(address, text) {
  return element("img", {
    src: api.apiURL(`/lorascope/picture?address=${encodeURIComponent(address)}`), alt: text, loading: "lazy",
  });
}

function card(hit) {
  const [cell] = hit.details.pictures;
  const name = hit.adapter.title ?? hit.adapter.name;
  const flags = hit.details.flags?.length ? `flags: ${hit.details.flags.join(", ")}` : "";
  const lines = [hit.words, hit.details.does?.join("; "), flags].filter(Boolean);
  const button = element("button", { type: "button", className: "lorascope-card", disabled: !hit.file });
  if (cell?.bare_url) button.append(picture(cell.bare_url, `without ${name}: ${cell.prompt}`));
  if (cell) button.append(picture(cell.url, `with ${name}: ${cell.prompt}`));
  button.append(element("strong", { textContent: `${name} · ${hit.use}` }));
  for (const line of lines) button.append(element("span", { textContent: line }));
  if (!hit.file) button.append(element("span", { textContent: "not in ComfyUI's folders of LoRAs" }));
  button.addEventListener("click", () => use(hit));
  return button;
}

/** lorascope's page in a frame. It asks whether somebody can use what is pressed, and says what was. */
function frame(url, tell) {
  const { origin } = new URL(url);
  const page = element("iframe", { src: url, title: "lorascope", className: "lorascope-page" });
  const refuse = () => {
    if (!page.isConnected) return;
    tell(`The page of lorascope cannot be shown here: start it with lorascope serve --embed-in ${location.origin}`);
  };
  const refusal = setTimeout(refuse, SECONDS * 1000);
  const listen = async ({ source, origin: from, data }) => {
    if (!page.isConnected) return void window.removeEventListener("message", listen);
    if (source !== page.contentWindow || from !== origin) return;
    const answer = (message) => source.postMessage(message, origin);
    clearTimeout(refusal);
    if (data?.lorascope === "ready") answer({ lorascope: "comfyui" });
    if (data?.lorascope !== "use") return;
    try {
      const found = await ask(`file?${new URLSearchParams({ key: data.key })}`);
      use({ ...found, use: data.weight ?? found.use });
      answer({ lorascope: "used", text: `${found.file} is loaded in ComfyUI.` });
    } catch (error) {
      answer({ lorascope: "failed", text: error.message });
    }
  };
  window.addEventListener("message", listen);
  return page;
}

const STYLE = `
.lorascope { display: flex; flex-direction: column; gap: 8px; padding: 8px; height: 100%; overflow: auto; }
.lorascope input, .lorascope select, .lorascope button { width: 100%; padding: 6px; border-radius: 4px;
  border: 1px solid var(--border-color); background: var(--comfy-input-bg); color: var(--input-text); font: inherit; }
.lorascope p { margin: 0; color: var(--descrip-text); }
.lorascope > div { display: grid; gap: 6px; }
.lorascope-card { display: grid; grid-template-columns: 1fr 1fr; gap: 4px; text-align: left; cursor: pointer; }
.lorascope-card:hover:enabled, .lorascope-card:focus-visible { border-color: var(--input-text); }
.lorascope-card img { width: 100%; } .lorascope-card strong, .lorascope-card span { grid-column: 1 / -1; }
.lorascope-card span { font-size: 0.9em; color: var(--descrip-text); overflow-wrap: anywhere; }
.lorascope-card:disabled { cursor: default; } .lorascope-card:disabled img { opacity: 0.4; }
.lorascope-page { width: 100%; height: 100%; min-height: 40rem; border: 0; }`;

/** Fill the tab. */
export function render(root) {
  const words = element("input", { type: "search", placeholder: "rainy neon street, 90s anime" });
  words.setAttribute("aria-label", "What the LoRA should do");
  const family = element("select", {}, element("option", { value: "", textContent: "all architectures" }));
  family.setAttribute("aria-label", "Architecture");
  const status = element("p", { textContent: "Type what a LoRA should do." });
  status.setAttribute("role", "status");
  const list = element("div");
  const whole = element("button", { type: "button", textContent: "The whole page", disabled: true });
  root.replaceChildren(
    element("style", { textContent: STYLE }), element("div", { className: "lorascope" }, words, family, whole, status, list),
  );
  let latest = 0;
  const search = async () => {
    const mine = ++latest;
    status.textContent = "Searching …";
    try {
      const asked = new URLSearchParams({ q: words.value, family: family.value });
      const page = await ask(`search?${asked}`);
      if (mine !== latest) return;
      list.replaceChildren(...page.hits.map(card));
      status.textContent = page.matched || !words.value
        ? `${page.total} LoRAs; a click loads one` : "Nothing clearly does this; these come nearest.";
    } catch (error) {
      if (mine === latest) { list.replaceChildren(); status.textContent = error.message; }
    }
  };
  let timer;
  words.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 400); });
  family.addEventListener("change", search);
  let address;
  whole.addEventListener("click", () => list.replaceChildren(frame(address, (text) => { status.textContent = text; })));
  ask("health").then(
    (health) => {
      family.append(...health.families.map((name) => element("option", { value: name, textContent: name })));
      address = health.url;
      whole.disabled = false;
    },
    (error) => { status.textContent = error.message; },
  );
}

app.registerExtension({
  name: "lorascope",
  setup() {
    app.extensionManager.registerSidebarTab({
      id: "lorascope", icon: "pi pi-search", title: "lorascope", tooltip: "Find LoRAs by what they do", type: "custom", render,
    });
  },
});
