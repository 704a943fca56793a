// When this browser was here last. What was new when a tab was opened stays new in it.

export const now = Math.floor(Date.now() / 1000);

const kept = sessionStorage.getItem("lorascope.visit") ?? localStorage.getItem("lorascope.visit") ?? "0";
sessionStorage.setItem("lorascope.visit", kept);
localStorage.setItem("lorascope.visit", String(now));

/** Seconds since 1970; 0 for a first visit. */
export const lastVisit = Number(kept);

const link = document.querySelector("[data-new]");
if (link && lastVisit) {
  link.href = `/?since=${lastVisit}&sort=newest`;
  link.hidden = false;
}
