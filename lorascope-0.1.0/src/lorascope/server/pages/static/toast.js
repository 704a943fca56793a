// What is told at the foot of the page, also to a screen reader: news for a few seconds, trouble until it is dismissed.

const news = document.getElementById("toast");
const alarm = document.getElementById("alarm");
const [trouble, dismissal] = alarm.children;
const LOST = "The server does not answer. Is it still running?";
let timer;
let before;

/** Tell something for a few seconds. */
export function say(text) {
  clearTimeout(timer);
  news.textContent = text;
  timer = setTimeout(() => (news.textContent = ""), 4000);
}

/** Tell what went wrong, until somebody has seen it. */
export function complain(text) {
  if (trouble.textContent !== text) trouble.textContent = text; // a screen reader need not hear it at each attempt
  alarm.hidden = false;
}

/** Tell that the server is gone. */
export function lost() {
  complain(LOST);
}

function dismiss() {
  alarm.hidden = true;
  trouble.textContent = "";
}

alarm.addEventListener("focusin", ({ relatedTarget }) => (before = relatedTarget));
dismissal.addEventListener("click", () => {
  dismiss();
  (before ?? document.getElementById("main")).focus({ preventScroll: true });
});
document.addEventListener("htmx:error", ({ detail: { ctx } }) => ctx && !ctx.response && lost());
document.addEventListener("htmx:after:request", () => trouble.textContent === LOST && dismiss());
