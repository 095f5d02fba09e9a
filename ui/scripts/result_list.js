// The list of results: what a click on it does. Its HTML is made, and escaped, by `ui.cards`.

const ACTS = ["open", "why", "more", "less", "others"]; // told to the page; all others are done here

function announce(root, sentence) {
  const status = root.querySelector(".wva-status");
  status.textContent = "";
  setTimeout(() => { status.textContent = sentence; }, 50);
}

function toggle(button, folded, shown) {
  const open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", String(open));
  folded.hidden = !open;
  if (shown) shown.hidden = open;
  return open;
}

function act(root, button, event, tell) {
  const what = button.dataset.act;
  const hit = button.closest("[data-id]");
  if (what === "longer") {
    const open = toggle(button, hit.querySelector(".wva-whole"), hit.querySelector(".wva-text"));
    button.textContent = open ? "less" : "more";
  } else if (what === "copy") {
    navigator.clipboard.writeText(hit.dataset.cite).then(
      () => announce(root, "Copied, with its source."),
      () => announce(root, "The browser does not let the page copy."),
    );
  } else if (ACTS.includes(what)) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab, by the link
    event.preventDefault();
    tell({ act: what, id: button.dataset.card || hit.dataset.id });
  }
}

// Links lead to the same place as a click, for a new tab and for the status bar.
function link(root) {
  for (const one of root.querySelectorAll('a[data-act="open"]')) {
    const address = new URL(window.location.href);
    address.searchParams.delete("open");
    address.searchParams.append("open", one.closest("[data-id]").dataset.id);
    one.href = address.pathname + address.search;
  }
}

function mark(root, current) {
  for (const hit of root.querySelectorAll(".wva-hit")) {
    if (hit.dataset.id === current) hit.setAttribute("aria-current", "true");
    else hit.removeAttribute("aria-current");
  }
}

// A selector of the card's button or the passage that has the focus; null if neither has.
function focusedPart(root) {
  const at = document.activeElement;
  if (!root.contains(at)) return null;
  if (at.dataset.card) return `[data-card="${CSS.escape(at.dataset.card)}"]`;
  const hit = at.closest("[data-id]");
  return hit && `.wva-hit[data-id="${CSS.escape(hit.dataset.id)}"]`;
}

// What was unfolded stays so when the same results are drawn again.
function draw(root, html) {
  const open = [...root.querySelectorAll(".wva-longer[aria-expanded=true]")].map(
    (button) => button.closest("[data-id]").dataset.id,
  );
  const focused = focusedPart(root);
  root.querySelector(".wva-shown").innerHTML = html;
  link(root);
  if (focused) root.querySelector(focused)?.focus({ preventScroll: true });
  for (const id of open) {
    root.querySelector(`.wva-hit[data-id="${CSS.escape(id)}"] .wva-longer`)?.click();
  }
}

// What floats over a text needs the colour below it, which Streamlit does not tell its page.
function colour() {
  const app = document.querySelector(".stApp");
  document.documentElement.style.setProperty(
    "--wva-back", getComputedStyle(app).backgroundColor,
  );
}

// Closed: back to where one was, as soon as the list is there again on a narrow window.
function back(root, id, tries = 60) {
  const hit = root.querySelector(`.wva-hit[data-id="${CSS.escape(id)}"]`);
  if (hit?.offsetParent) {
    hit.scrollIntoView({ block: "nearest" });
    hit.focus({ preventScroll: true });
  } else if (hit && tries) setTimeout(() => back(root, id, tries - 1), 50);
}

const known = new WeakMap();

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".wva-results");
  const before = known.get(root) || {};
  if (!known.has(root)) {
    root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-act]");
      if (button) {
        act(root, button, event, (told) => known.get(root).tell(told));
      } else if (!window.getSelection().toString()) {
        event.target.closest(".wva-hit .wva-text")?.closest(".wva-hit")
          .querySelector('[data-act="open"]').click();
      }
    });
  }
  const now = {
    html: data.html, current: data.current, search: data.search,
    tell: (told) => {
      if (told.act === "open" || told.act === "why") mark(root, told.id);
      setTriggerValue("act", { ...told, at: Date.now() });
    },
  };
  known.set(root, now);
  colour();
  if (before.html !== data.html) draw(root, data.html);
  mark(root, data.current);
  if (before.search !== data.search && data.said) announce(root, data.said);
  if (before.current && !data.current && before.search === data.search) {
    back(root, before.current);
  }
}
