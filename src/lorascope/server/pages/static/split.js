// The without | with slider: a range input over two pictures. Those of one card or table move together.

let before; // where the slider was when it was touched

document.addEventListener("input", ({ target }) => target.matches(".split input") && move(target));
document.addEventListener("pointerdown", ({ target }) => (before = target.value));
document.addEventListener("pointercancel", ({ target }) => {
  if (!target.matches(".split input")) return;
  target.value = before; // the finger scrolls the page
  move(target);
});

function move(slider) {
  const group = slider.closest("[data-together]") ?? slider.closest(".split");
  group.style.setProperty("--at", `${slider.value}%`);
  for (const other of group.querySelectorAll(".split input")) other.value = slider.value;
}
