// Without this script the pages work, too. With it, they refresh, and show a call while it runs.
"use strict";

(() => {
  const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

  // What somebody does on the page must not be lost.
  const isBusy = () =>
    document.hidden || document.activeElement?.matches("input, select, textarea") || !window.getSelection().isCollapsed;

  // The session is over, or the record is gone.
  function stop() {
    for (const part of document.querySelectorAll("[data-refresh]")) {
      const note = document.createElement("p");
      note.className = "errornote";
      note.textContent = part.dataset.stale;
      part.prepend(note);
      part.removeAttribute("data-refresh");
    }
  }

  async function refresh() {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (response.redirected || (response.status >= 400 && response.status < 500)) return stop();
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of document.querySelectorAll("[data-refresh]")) {
      const next = fresh.getElementById(part.id);
      if (!next) continue;
      const shown = next.outerHTML;
      if (shown === part.dataset.shown) continue;
      const open = [...part.querySelectorAll("details")].map((each) => each.open);
      next.querySelectorAll("details").forEach((each, index) => { each.open = open[index] ?? each.open; });
      next.dataset.shown = shown;
      part.replaceWith(next);
    }
  }

  async function keepFresh() {
    for (;;) {
      const seconds = [...document.querySelectorAll("[data-refresh]")].map((part) => Number(part.dataset.refresh)).filter(Boolean);
      if (!seconds.length) return;
      await pause(Math.min(...seconds));
      if (isBusy()) continue;
      try { await refresh(); } catch { /* The server may be back in the next round. */ }
    }
  }

  // Yields the events of a response as they come.
  async function* eventsOf(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const events = text.split("\n\n");
      text = events.pop();
      for (const event of events) {
        const lines = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s)));
        yield { kind: lines.event, html: JSON.parse(lines.data) };
      }
    }
  }

  // Who reads the last row sees the next one, too.
  function append(rows, html) {
    const isAtEnd = rows.scrollTop + rows.clientHeight >= rows.scrollHeight - 4;
    rows.insertAdjacentHTML("beforeend", html);
    if (isAtEnd) rows.scrollTop = rows.scrollHeight;
  }

  async function call(form, button, updates) {
    const part = (name) => updates.querySelector(`[data-part=${name}]`);
    const data = new FormData(form, button);
    button.disabled = true;
    for (const name of ["rows", "end"]) part(name).replaceChildren();
    part("progress").textContent = updates.dataset.running;
    let isOver = false;
    try {
      const response = await fetch(form.action, { method: "POST", body: data, headers: { Accept: "text/event-stream" } });
      if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
        // The form has errors, or the session is over: as without a script.
        HTMLFormElement.prototype.submit.call(form);
        return;
      }
      for await (const { kind, html } of eventsOf(response)) {
        isOver = kind === "result" || kind === "error";
        if (isOver) part("progress").replaceChildren();
        if (kind === "progress") part("progress").innerHTML = html;
        else if (isOver) part("end").insertAdjacentHTML("beforeend", html);
        else append(part("rows"), html);
      }
    } catch { /* said below */ }
    if (!isOver) part("progress").textContent = updates.dataset.lost;
    button.disabled = false;
  }

  const form = document.getElementById("call");
  form?.addEventListener("submit", (event) => {
    if (event.submitter?.value !== "foreground") return;
    event.preventDefault();
    call(form, event.submitter, document.getElementById("updates"));
  });

  // A double click must not run a job twice.
  window.addEventListener("pageshow", () => {
    for (const each of document.forms) delete each.dataset.sent;
  });
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "1";
  });

  keepFresh();
})();
