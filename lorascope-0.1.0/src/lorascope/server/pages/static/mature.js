// Mature pictures: blurred, shown or left out, remembered in a cookie so that the server draws them right at once.

const choice = document.getElementById("mature");

const page = document.documentElement.dataset;

choice.addEventListener("change", keep);
// Someone quick has chosen before this was loaded.
if (choice.value !== page.mature) keep();

function keep() {
  page.mature = choice.value;
  document.cookie = `mature=${choice.value}; path=/; max-age=31536000; samesite=strict`;
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-reveal]");
  if (!button) return;
  const card = button.closest(".mature");
  card.classList.add("shown");
  card.querySelector("a, input")?.focus({ preventScroll: true });
});
