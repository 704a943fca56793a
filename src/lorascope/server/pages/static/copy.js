// Buttons that copy what their data-copy says, and the line that tells it, also to a screen reader.

const toast = document.getElementById("toast");
let timer;

/** Tell something for a few seconds. */
export function say(text) {
  clearTimeout(timer);
  toast.textContent = text;
  timer = setTimeout(() => (toast.textContent = ""), 4000);
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) return;
  say((await copied(button.dataset.copy)) ? `Copied ${button.dataset.copy}` : `Copy it yourself: ${button.dataset.copy}`);
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
