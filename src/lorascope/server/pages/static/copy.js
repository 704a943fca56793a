// Buttons that copy: what their data-copy says, or the tag of a LoRA in the form of the tool that the person uses.

import { complain, say } from "./toast.js";

const SHOWN = 80; // characters: enough to know it again
const FORMS = { // what stands before the name, the name, and what comes after it
  a1111: ({ tag, triggers }, weight) => ["<lora:", tag, `:${weight}>${triggers}`],
  comfyui: ({ file }) => ["", file, ".safetensors"], // as its lists of LoRAs name it
  swarmui: ({ file, triggers }, weight) => ["<lora:", file, `:${weight}>${triggers}`],
};
const tool = document.getElementById("tool");
const weight = document.getElementById("tag-weight");
const shown = document.getElementById("tag");

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (button) copy(button.dataset.tag === undefined ? button.dataset.copy : tagOf(button.dataset).join(""));
  const folder = target.closest("[data-folder]");
  if (folder) open(folder);
  if (target.closest("[data-address]")) copy(location.href);
  const step = target.closest("[data-weight]:not([data-tag])");
  if (step) choose(step.dataset.weight);
});

if (tool) {
  tool.value = kept();
  tool.addEventListener("change", () => {
    localStorage.setItem("lorascope.tool", tool.value);
    draw();
  });
  weight.addEventListener("input", draw);
  draw();
}

function kept() {
  const name = localStorage.getItem("lorascope.tool");
  return name in FORMS ? name : "a1111";
}

function tagOf(data) {
  return FORMS[kept()](data, weight?.value || data.weight);
}

/** Show what would be copied. */
function draw() {
  const [before, name, after] = tagOf(document.querySelector("main .main-action[data-tag]").dataset);
  // a name written from right to left stays whole, and the rest of the tag in its order
  shown.replaceChildren(before, Object.assign(document.createElement("bdi"), { textContent: name }), after);
  for (const step of document.querySelectorAll(".strip [data-weight]")) {
    step.ariaPressed = Number(step.dataset.weight) === Number(weight.value);
  }
}

function choose(value) {
  weight.value = value;
  const tried = document.getElementById("weight");
  if (tried) tried.value = value;
  draw();
}

async function open(button) {
  const answer = await fetch(button.dataset.folder, { method: "POST" }).catch(() => null);
  if (answer?.ok) say("The folder is open on this machine.");
  else complain("The folder cannot be opened: copy the file's path instead.");
}

async function copy(text) {
  if (await copied(text)) say(`Copied ${text.length > SHOWN ? `${text.slice(0, SHOWN)} …` : text}`);
  else complain(`Copy it yourself: ${text}`);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedTheOldWay(text); // browsers offer the clipboard to https and loopback only
  }
}

function copiedTheOldWay(text) {
  const field = Object.assign(document.createElement("textarea"), { value: text, className: "unseen" });
  const { activeElement } = document;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  activeElement?.focus();
  return done;
}
