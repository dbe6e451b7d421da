// Replaces what a page shows whenever the release store has moved on. Without it the page reads the same, and is as of when it was
// asked for.
"use strict";
(() => {
  const live = document.querySelector("main").dataset.live;
  if (!live || !window.EventSource) return;
  let busy = false;
  let again = false;

  const place = (root, element) => {
    const link = element && element.closest("main") && element.getAttribute("href");
    return link && [...root.querySelectorAll("main a")].find((a) => a.getAttribute("href") === link);
  };

  const refresh = async () => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const answer = await fetch(location.href);
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const focused = document.activeElement;
        const open = [...document.querySelectorAll("main details")].map((d) => d.open);
        const next = place(page, focused);
        page.querySelectorAll("main details").forEach((d, i) => { d.open = open[i] === true; });
        for (const part of ["main", "#state"]) {
          const is = document.querySelector(part);
          const will = page.querySelector(part);
          if (is && will && is.innerHTML !== will.innerHTML) is.replaceChildren(...will.childNodes);
        }
        if (next) next.focus({ preventScroll: true });
      }
    } finally {
      setTimeout(() => {
        busy = false;
        if (again) {
          again = false;
          refresh();
        }
      }, 500);
    }
  };

  let line = Number(document.querySelector("main").dataset.line);
  let events = null;
  // A browser has few connections to one server, so that only a page that is seen keeps one of them.
  const follow = () => {
    if (events) events.close();
    events = document.hidden ? null : new EventSource(live);
    if (events) events.addEventListener("state", (e) => {
      const at = JSON.parse(e.data);
      if (at.line !== line) {
        line = at.line;
        refresh();
      }
    });
  };
  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", () => { if (events) events.close(); });
  addEventListener("pageshow", (e) => { if (e.persisted) follow(); });
  follow();
})();
