// Replaces what a page shows whenever the release store has moved on. Without it the page reads the same, and is as of when it was
// asked for.
"use strict";
(() => {
  const live = document.querySelector("main").dataset.live;
  if (!live || !window.EventSource) return;
  let busy = false;
  let again = false;

  // same says whether two elements are about the same: the same line of the log, or what leads to the same page.
  const about = (e) => e.id || (e.querySelector && e.querySelector("a") && e.querySelector("a").getAttribute("href"));
  const same = (a, b) => a.isEqualNode(b) || (a.nodeName === b.nodeName && Boolean(about(a)) && about(a) === about(b));

  // update makes one element what another is, and leaves alone whatever is the same in both: who reads on keeps their place, the
  // focus and what they have marked. What somebody opened stays open.
  const update = (is, will) => {
    if (is.isEqualNode(will)) return;
    if (is.nodeName !== will.nodeName || is.nodeType !== Node.ELEMENT_NODE || is.id !== will.id) {
      is.replaceWith(will);
      return;
    }
    for (const name of new Set([...is.getAttributeNames(), ...will.getAttributeNames()])) {
      if (name === "open") continue;
      if (!will.hasAttribute(name)) is.removeAttribute(name);
      else if (is.getAttribute(name) !== will.getAttribute(name)) is.setAttribute(name, will.getAttribute(name));
    }
    const old = [...is.childNodes];
    const now = [...will.childNodes];
    let i = 0;
    now.forEach((node, j) => {
      // What is between elements is the same in many places, and says nothing of which.
      const found = old.findIndex((o, n) => (n === i || (n > i && o.nodeType === Node.ELEMENT_NODE)) && same(o, node));
      if (found >= 0) {
        for (; i < found; i++) old[i].remove();
        update(old[i++], node);
      } else if (i < old.length && !now.slice(j + 1).some((later) => same(later, old[i]))) {
        update(old[i++], node);
      } else {
        is.insertBefore(node, old[i] || null);
      }
    });
    for (; i < old.length; i++) old[i].remove();
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
        for (const part of ["main", "#state"]) update(document.querySelector(part), page.querySelector(part));
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
