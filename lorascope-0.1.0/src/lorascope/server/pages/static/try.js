// A try stays on its page when it is reloaded: the address names it, and the page asks for it again.

document.addEventListener("htmx:after:swap", () => {
  const tried = document.querySelector("#try [data-try]");
  const address = new URL(location);
  if (!tried || address.searchParams.get("try") === tried.dataset.try) return;
  address.searchParams.set("try", tried.dataset.try);
  history.replaceState(history.state, "", address);
});
