// Buttons that copy what their data-copy says.

import { complain, say } from "./toast.js";

const SHOWN = 80; // characters: enough to know it again

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  const text = button.dataset.copy;
  if (await copied(text)) say(`Copied ${text.length > SHOWN ? `${text.slice(0, SHOWN)} …` : text}`);
  else complain(`Copy it yourself: ${text}`);
});

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
