// The without | with slider: a range input over two pictures. Those of one card or table move together.

document.addEventListener("input", ({ target }) => {
  if (!target.matches(".split input")) return;
  const group = target.closest("[data-together]") ?? target.closest(".split");
  group.style.setProperty("--at", `${target.value}%`);
  for (const other of group.querySelectorAll(".split input")) other.value = target.value;
});
