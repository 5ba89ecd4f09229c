// Reports: ordered here, written by workers some time, and read from their records.

import { byId, plural } from "./results.js";
import { ask, jobAddress, reasonOf } from "./site.js";

const url = document.body.dataset.reportsUrl;
const OPEN = ["queued", "running"];
const LOOK_EVERY = 500; // milliseconds, while a report is to be written
let timer = null;
let shown = ""; // what is on the page, which is not read aloud again

function textOf({ state, attempts, totals, problem }) {
  switch (state) {
    case "succeeded":
      return `${plural(totals.files, "file")}, ${plural(totals.lines, "line")}, ${plural(totals.functions, "function")}.`;
    case "failed":
      return `Failed after ${plural(attempts, "attempt")}. ${problem}`;
    case "cancelled":
      return "Cancelled.";
    case "running":
      return "A worker reads it …";
    default:
      return problem ? `To be tried again, as attempt ${attempts} failed. ${problem}` : "Waiting for a worker …";
  }
}

function item(report) {
  const item = document.createElement("li");
  const name = document.createElement("a");
  name.href = jobAddress(report.id);
  name.textContent = report.package;
  const text = document.createElement("small");
  text.textContent = textOf(report);
  item.append(name, " ", text);
  if (report.state === "failed") {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain";
    button.textContent = "Try again";
    button.setAttribute("aria-label", `Try the report of ${report.package} again`);
    button.addEventListener("click", () => show(() => ask(`${url}${report.id}/retry/`, "POST")));
    item.append(button);
  }
  return item;
}

// Does something, shows all reports, and goes on with that while one of them is open.
async function show(first = async () => {}) {
  clearTimeout(timer);
  const error = byId("reports-error");
  try {
    await first();
    const { reports } = await ask(url);
    const news = JSON.stringify(reports);
    if (news !== shown) byId("reports").replaceChildren(...reports.map(item));
    shown = news;
    error.hidden = true;
    if (reports.some(({ state }) => OPEN.includes(state))) timer = setTimeout(() => show(), LOOK_EVERY);
  } catch (reason) {
    error.textContent = reasonOf(reason);
    error.hidden = false;
  }
}

byId("report-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = new URLSearchParams({ package: byId("report-package").value });
  show(() => ask(`${url}?${query}`, "POST"));
});

show();
