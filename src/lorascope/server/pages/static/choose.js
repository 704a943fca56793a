// Choosing many files: one box chooses all of its section, and the button says how many are chosen.

document.addEventListener("change", ({ target }) => {
  const form = target.closest("[data-choosing]");
  if (!form) return;
  if (target.matches("[data-all]")) {
    for (const box of target.closest("section").querySelectorAll("[name=a]")) box.checked = target.checked;
  }
  const chosen = new Set([...form.querySelectorAll("[name=a]:checked")].map(({ value }) => value)).size;
  form.querySelector("[data-count]").textContent = chosen ? ` of ${chosen}` : " of all";
});
