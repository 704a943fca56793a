// In a frame of ComfyUI's sidebar, a LoRA goes into the workflow at a press: the frame's parent loads it.

import { complain, say } from "./toast.js";

const parent = window.parent === window ? null : window.parent;
let origin; // of the parent, once it has said that it is ComfyUI

window.addEventListener("message", ({ source, origin: from, data }) => {
  if (!parent || source !== parent) return;
  if (data?.lorascope === "comfyui") {
    origin = from;
    document.documentElement.dataset.comfyui = "";
  } else if (data?.lorascope === "used") say(data.text);
  else if (data?.lorascope === "failed") complain(data.text);
});
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-send]");
  if (!button || !origin) return;
  const weight = Number(document.getElementById("tag-weight")?.value || button.dataset.at);
  parent.postMessage({ lorascope: "use", key: button.dataset.send, weight }, origin);
});
parent?.postMessage({ lorascope: "ready" }, "*"); // only sites that were named at start can show the page in a frame
