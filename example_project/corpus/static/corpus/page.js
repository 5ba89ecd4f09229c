// The page: what visitors do, what the server answers. What is drawn is in results.js.
// Names of files and functions are other people's: they are only ever set as textContent.

import { byId, number, plural, Results } from "./results.js";
import { answerIn, ask, jobAddress, reasonOf } from "./site.js";

const urls = document.body.dataset;
const results = new Results();
let current = null; // AbortController of the survey that is followed

function show(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

function address(url, parameters) {
  return `${url}?${new URLSearchParams(parameters)}`;
}

async function* linesOf(response) {
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

// ---- Packages to choose from

const GROUPS = { library: "Standard library", installed: "Installed packages" };

async function loadPackages() {
  const select = byId("package");
  try {
    const { packages } = await ask(urls.packagesUrl);
    for (const [group, label] of Object.entries(GROUPS)) {
      const choices = document.createElement("optgroup");
      choices.label = label;
      for (const each of packages) {
        if (each.group === group) choices.append(new Option(each.name, each.name));
      }
      if (choices.childElementCount) select.append(choices);
    }
  } catch (error) {
    show(byId("packages-error"), `The list of packages could not be loaded. ${reasonOf(error)}`);
  }
}

// ---- The survey

function showProgress(done, total) {
  byId("progress").value = total ? done / total : 1;
  byId("count").textContent = `${number(done)} of ${plural(total, "file")}`;
}

function finish(status, problem) {
  byId("status").textContent = status;
  show(byId("survey-error"), problem);
}

const handlers = {
  progress: ({ done, total }) => {
    byId("status").textContent = "Surveying …";
    show(byId("survey-error"), "");
    showProgress(done, total);
  },
  waiting: ({ text }) => finish("Still waiting …", text),
  error: ({ text }) => finish("The survey ended early.", text),
  done: ({ rows, totals, seconds }) => {
    showProgress(totals.files, totals.files);
    results.show(rows, totals);
    const unread = totals.unreadable ? ` ${plural(totals.unreadable, "file")} could not be read.` : "";
    finish(`Done: ${plural(totals.files, "file")} in ${seconds} s.${unread}`, "");
  },
};

// A survey is a job with a record: the address of the page has its id, so that a page that is
// loaded again follows the same survey, as does that of somebody else.
async function survey(begin) {
  current?.abort();
  const mine = (current = new AbortController());
  results.clear();
  byId("survey-job").hidden = true;
  show(byId("packages-error"), "");
  finish("Asking for a worker …", "");
  byId("progress").removeAttribute("value");
  byId("count").textContent = "";
  byId("progress").hidden = false;
  let last = null;
  try {
    const id = await begin();
    if (mine.signal.aborted) return;
    history.replaceState(null, "", `?survey=${encodeURIComponent(id)}`);
    const response = await fetch(`${urls.surveyUrl}${encodeURIComponent(id)}/`, {
      signal: mine.signal,
    });
    if (!response.ok) await answerIn(response);
    byId("survey-job").href = jobAddress(id);
    byId("survey-job").hidden = false;
    for await (const line of linesOf(response)) {
      if (mine.signal.aborted) return;
      handlers[line.kind]?.(line);
      last = line.kind;
    }
    if (last !== "done" && last !== "error") throw new Error("The answer is incomplete.");
  } catch (error) {
    if (mine.signal.aborted) return; // the visitor started another one
    finish("The survey ended early.", reasonOf(error));
    last = "error";
  }
  if (last !== "done") byId("progress").hidden = true;
}

byId("survey-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const chosen = address(urls.surveyUrl, { package: byId("package").value });
  survey(async () => (await ask(chosen, "POST")).survey);
});

const followed = new URLSearchParams(location.search).get("survey");
if (followed) survey(async () => followed);

// ---- The search

let searches = 0;

async function search(chosen, text) {
  const mine = ++searches;
  const status = byId("search-status");
  status.textContent = "Searching …";
  show(byId("search-error"), "");
  byId("hits").replaceChildren();
  try {
    const found = await ask(address(urls.searchUrl, { package: chosen, q: text }));
    if (mine !== searches) return; // a later search is on its way
    const first = found.hits.length < found.total ? `, the first ${found.hits.length} shown` : "";
    status.textContent = `${plural(found.total, "hit")} for “${found.q}” in ${found.package}${first} (${number(found.seconds)} s).`;
    byId("hits").append(...found.hits.map(hitItem));
  } catch (error) {
    if (mine !== searches) return;
    status.textContent = "The search failed.";
    show(byId("search-error"), reasonOf(error));
  }
}

function hitItem({ file, line, kind, name }) {
  const item = document.createElement("li");
  for (const [tag, text] of [["code", name], ["small", `${kind}, ${file}:${line}`]]) {
    const part = document.createElement(tag);
    part.textContent = text;
    item.append(part, " ");
  }
  return item;
}

byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  search(byId("package").value, byId("text").value);
});

loadPackages();
