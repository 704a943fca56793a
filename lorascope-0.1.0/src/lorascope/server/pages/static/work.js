// Listens to how the work goes. Each step has the server draw the progress anew; when a run begins or ends, the page.
// Both are morphed in, so the focus stays where it was.

const lost = document.getElementById("lost");

const events = new EventSource("/api/v1/events"); // the browser connects again by itself

events.addEventListener("work", ({ data }) => {
  const { run, waiting } = JSON.parse(data);
  const now = `${run?.id ?? ""} ${run?.state ?? ""} ${waiting.length}`;
  const whole = !lost.hidden || now !== document.getElementById("progress").dataset.drawn;
  lost.hidden = true;
  if (whole) htmx.ajax("GET", "/work", { target: "#main", swap: "innerMorph" });
  else document.body.dispatchEvent(new Event("progressed"));
});
events.addEventListener("error", () => (lost.hidden = false));
document.addEventListener("click", ({ target }) => target.matches("[action='/work/runs'] button") && wantFolder());
window.addEventListener("pagehide", () => events.close());

/** A browser can demand one tick, but not one of several: the first box speaks for all. */
function wantFolder() {
  const boxes = [...document.querySelectorAll("[name=folder]")];
  boxes[0].setCustomValidity(boxes.some(({ checked }) => checked) ? "" : "Choose a folder.");
}
