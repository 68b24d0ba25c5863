// Keeps a page fresh: on "change" it fetches itself again and replaces what is inside <main>.
// Open details stay open, the focused control keeps the focus; without JavaScript nothing is lost.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  if (!main || !window.EventSource) return;
  let busy = false;
  let again = false;

  async function refresh() {
    if (busy) { again = true; return; }
    if (main.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) return;
    busy = true;
    try {
      const reply = await fetch(location.href, { headers: { accept: "text/html" } });
      if (reply.ok) replace(new DOMParser().parseFromString(await reply.text(), "text/html"));
    } catch { /* the next event tries again */ }
    busy = false;
    if (again) { again = false; refresh(); }
  }

  function replace(fresh) {
    const inside = fresh.querySelector("main[data-live]");
    if (!inside) return;
    const open = new Set([...main.querySelectorAll("details[open][id]")].map((d) => d.id));
    const focus = document.activeElement && main.contains(document.activeElement) ? document.activeElement.id : "";
    const before = main.dataset.state;
    main.replaceChildren(...inside.childNodes);
    main.dataset.state = inside.dataset.state || "";
    for (const id of open) { const d = document.getElementById(id); if (d) d.open = true; }
    if (focus) { const f = document.getElementById(focus); if (f) f.focus({ preventScroll: true }); }
    if (before !== main.dataset.state) document.getElementById("news").textContent = main.dataset.state;
  }

  new EventSource(main.dataset.live).addEventListener("change", refresh);
})();
