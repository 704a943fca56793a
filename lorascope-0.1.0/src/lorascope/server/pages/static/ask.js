// The search form: tidy addresses, live sliders, a picture dropped or chosen.

import { complain, lost, say } from "./toast.js";

const form = document.getElementById("ask");

if (form) {
  form.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
    // Only what differs from the defaults goes into the address. A slider being drawn leaves one step of history.
    for (const field of form.querySelectorAll("[name]")) {
      if (usual(field)) ctx.request.body.delete(field.name);
    }
    ctx[ctx.sourceEvent.type === "submit" ? "push" : "replace"] = "true";
  });
  form.addEventListener("input", ({ target }) => {
    const shown = target.closest(".field")?.querySelector("output");
    if (shown) shown.value = spelt(target, shown.dataset.any);
  });
  document.addEventListener("htmx:after:swap", () => {
    // a status that is put in with its text is not read out; one that changes is
    document.getElementById("announced").textContent = document.getElementById("told")?.textContent ?? "";
  });
  document.addEventListener("toggle", ({ target }) => target.id === "lane" && keepLane(target.open), true);
  document.addEventListener("keydown", focusBox);
  takePictures();
}

/** The slash key goes to the search box, unless something is being typed. */
function focusBox(event) {
  const typing = event.target.closest("input:not([type=range], [type=checkbox]), textarea, select, [contenteditable]");
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
  event.preventDefault();
  form.elements.q.select();
}

function usual({ type, value, dataset }) {
  return type === "range" ? Number(value) === Number(dataset.default) : value === "";
}

function spelt({ value, min, max, step }, any) {
  if (Number(value) === Number(any === "end" ? max : min)) return "any";
  return Number(value).toFixed(step.split(".")[1].length);
}

function keepLane(open) {
  form.elements.hidden.disabled = !open;
  const address = new URL(location);
  if (open) address.searchParams.set("hidden", "1");
  else address.searchParams.delete("hidden");
  history.replaceState(history.state, "", address);
}

function takePictures() {
  const file = document.getElementById("picture");
  form.querySelector("[data-picture]").addEventListener("click", () => file.click());
  file.addEventListener("change", () => file.files[0] && searchBy(file.files[0]));
  const root = document.documentElement;
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    root.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || root.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    const [picture] = event.dataTransfer.files;
    root.classList.remove("dropping");
    if (!picture) return;
    event.preventDefault();
    searchBy(picture);
  });
}

async function searchBy(picture) {
  say("Looking at the picture …");
  const protocol = new URLSearchParams(location.search).get("protocol");
  try {
    const answer = await fetch(`/api/v1/images${protocol ? `?protocol=${encodeURIComponent(protocol)}` : ""}`, {
      method: "POST",
      body: picture,
    });
    const found = await answer.json();
    if (!answer.ok) return complain([found.error.message, found.error.remedy].filter(Boolean).join(". "));
    const address = new URL(location);
    for (const name of ["q", "more", "less", "page"]) address.searchParams.delete(name);
    address.searchParams.set("image", found.image);
    location.assign(address);
  } catch {
    lost();
  }
}
