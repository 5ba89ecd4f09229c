// Refreshes the parts of a page that ask for it, without losing what somebody is doing there.
"use strict";

(() => {
  const parts = () => [...document.querySelectorAll("[data-refresh]")].filter((part) => Number(part.dataset.refresh) > 0);

  const isBusy = () =>
    document.hidden || document.activeElement?.matches("input, select, textarea") || !window.getSelection().isCollapsed;

  async function refresh() {
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (!response.ok || response.redirected) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of document.querySelectorAll("[data-refresh]")) {
      const next = part.id && fresh.getElementById(part.id);
      if (!next || next.outerHTML === part.dataset.shown) continue;
      const open = [...part.querySelectorAll("details")].map((each) => each.open);
      const shown = next.outerHTML;
      next.querySelectorAll("details").forEach((each, index) => { if (open[index] !== undefined) each.open = open[index]; });
      next.dataset.shown = shown;
      part.replaceWith(next);
    }
  }

  async function loop() {
    for (;;) {
      const waiting = parts();
      if (!waiting.length) return;
      const seconds = Math.min(...waiting.map((part) => Number(part.dataset.refresh)));
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      if (isBusy()) continue;
      try { await refresh(); } catch { /* The next round may reach the server again. */ }
    }
  }

  loop();
})();
