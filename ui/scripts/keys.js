// The keys of the search page. Nothing of a document gets in here: it only looks for elements.
(() => {
  if (window.wvaKeys) return;
  window.wvaKeys = true;
  const hits = () => [...document.querySelectorAll(".wva-hit")].filter((hit) => hit.offsetParent);
  const typing = (at) => at.closest("input, textarea, select, [contenteditable], [role=dialog]");
  const button = (key) => document.querySelector(`.st-key-${key} button:not(:disabled)`);
  const opened = () => document.querySelector(".st-key-pane .wva-opened");
  const chosen = () => document.querySelector(".st-key-pane .wva-opened:not(.wva-auto)");
  const visit = (hit) => {
    hit.focus({ preventScroll: true });
    hit.scrollIntoView({ block: "nearest" });
  };
  const step = (by) => {
    const all = hits();
    if (!all.length) return;
    const here = document.activeElement.closest?.(".wva-hit");
    const from = here || all.find((hit) => hit.getAttribute("aria-current"));
    const at = all.indexOf(from);
    const first = by > 0 ? 0 : all.length - 1;
    const next = at < 0 || (!here && !chosen()) ? first : at + by;
    const hit = all[Math.max(0, Math.min(all.length - 1, next))];
    visit(hit);
    if (opened()) follow(hit);
  };
  let waiting;
  const follow = (hit) => { // not while a key is held down
    clearTimeout(waiting);
    waiting = setTimeout(() => hit.querySelector('[data-act="open"]').click(), 90);
  };
  const open = (hit) => {
    hit.querySelector('[data-act="open"]').click();
    look();
  };
  const look = () => { // the focus goes where the eye goes
    let tries = 60;
    const go = () => {
      const head = document.querySelector(".st-key-pane h2");
      if (head && !document.querySelector(".wva-auto")) head.focus({ preventScroll: true });
      else if (tries-- > 0) setTimeout(go, 50);
    };
    setTimeout(go, 50);
  };
  const hit = (at) =>
    at.closest(".wva-hit") || document.querySelector('.wva-hit[aria-current="true"]');
  const keys = {
    j: () => step(1),
    k: () => step(-1),
    c: (at) => hit(at)?.querySelector('[data-act="copy"]').click(),
    w: (at) => { hit(at)?.querySelector('[data-act="why"]').click(); look(); },
    m: (at) => hit(at)?.querySelector('[data-act="longer"]').click(),
    o: () => button("open-viewer")?.click(),
    n: () => button("hit-after")?.click(),
    p: () => button("hit-before")?.click(),
    ArrowRight: () => opened() && button("next")?.click(),
    ArrowLeft: () => opened() && button("previous")?.click(),
    "?": () => document.querySelector(".st-key-help button")?.click(),
    Escape: (at) => {
      if (opened() && button("close")) button("close").click();
      else at.blur();
    },
  };
  document.addEventListener("click", (event) => {
    const copy = event.target.closest?.("[data-copy]");
    if (!copy) return;
    const name = copy.dataset.name || (copy.dataset.name = copy.textContent);
    navigator.clipboard.writeText(copy.dataset.copy).then(
      () => { copy.textContent = `${name}: copied`; },
      () => { copy.textContent = `${name}: the browser does not let the page copy`; },
    );
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const at = document.activeElement || document.body;
    if (typing(at)) {
      if (event.key === "Escape" && !event.defaultPrevented) at.blur();
      return;
    }
    if (event.key === "/") {
      const box = document.querySelector(".st-key-q input");
      if (box) { box.focus(); box.select(); event.preventDefault(); }
    } else if (event.key === "Enter" && at.classList.contains("wva-hit")) {
      open(at);
      event.preventDefault();
    } else if (Object.hasOwn(keys, event.key)) {
      if (event.key.startsWith("Arrow") && at.closest("[role=radiogroup], [role=slider]")) return;
      keys[event.key](at);
    }
  });
})();
