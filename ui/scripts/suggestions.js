// Suggestions below the search box, which is Streamlit's own text field: nothing here draws it, so
// that typing is never disturbed. The page is told what is typed, and answers with suggestions.

const WAIT = 120; // milliseconds without a key before the page is asked
const SHORTEST = 2; // characters
const BOX = ".st-key-q input";

const state = { items: [], at: -1, open: false, waiting: null, known: new Map(), key: "" };
let timer;

const box = () => document.querySelector(BOX);
const list = () => state.root?.querySelector(".wva-suggestions");

function describe(input) {
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-controls", "wva-suggestions");
  input.setAttribute("aria-expanded", String(state.open));
  if (state.open && state.at >= 0) {
    input.setAttribute("aria-activedescendant", `wva-suggestion-${state.at}`);
  } else input.removeAttribute("aria-activedescendant");
}

function close() {
  clearTimeout(timer);
  state.waiting = null;
  state.open = false;
  state.at = -1;
  if (list()) list().hidden = true;
  if (box()) describe(box());
}

function place() {
  const input = box();
  if (!state.open || !input) return;
  const field = (input.closest('[data-testid="stTextInputRootElement"]') || input).getBoundingClientRect();
  Object.assign(list().style, {
    left: `${field.left}px`, top: `${field.bottom + 4}px`, width: `${field.width}px`,
  });
}

function mark(at) {
  state.at = at;
  list().querySelectorAll("[role=option]").forEach((option, here) => {
    option.setAttribute("aria-selected", String(here === at));
    if (here === at) option.scrollIntoView({ block: "nearest" });
  });
  describe(box());
}

function show(items) {
  const input = box();
  if (!input || document.activeElement !== input || !items.length) return close();
  state.items = items;
  state.open = true;
  list().replaceChildren(...items.map((item, at) => {
    const option = document.createElement("li");
    option.id = `wva-suggestion-${at}`;
    option.setAttribute("role", "option");
    const text = document.createElement("bdi");
    text.textContent = item.shown;
    const kind = document.createElement("small");
    kind.textContent = item.kind;
    option.append(text, " ", kind);
    option.addEventListener("mousedown", (event) => event.preventDefault()); // the box keeps focus
    option.addEventListener("click", () => choose(at));
    return option;
  }));
  list().hidden = false;
  place();
  mark(-1);
  const many = items.length === 1 ? "1 suggestion" : `${items.length} suggestions`;
  state.root.querySelector("[role=status]").textContent = many;
}

function choose(at) {
  const input = box();
  const text = state.items[at].text;
  close();
  // As if it was typed: Streamlit's field listens to the event.
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, text);
  input.dispatchEvent(new InputEvent("input", { bubbles: true, data: "wva" }));
  close();
  setTimeout(() => document.querySelector(".st-key-search button")?.click(), 30);
}

function typed(input) {
  clearTimeout(timer);
  const text = input.value;
  if (text.trim().length < SHORTEST) return close();
  timer = setTimeout(() => {
    if (state.known.has(text)) return show(state.known.get(text));
    state.waiting = text;
    state.tell(text);
  }, WAIT);
}

function listen() {
  const ours = (event) => event.target.matches?.(BOX);
  document.addEventListener("focusin", (event) => { if (ours(event)) describe(event.target); });
  document.addEventListener("focusout", (event) => { if (ours(event)) close(); });
  document.addEventListener("input", (event) => {
    if (ours(event) && !event.isComposing && event.data !== "wva") typed(event.target);
  });
  document.addEventListener("compositionend", (event) => {
    if (ours(event)) typed(event.target);
  });
  // Before Streamlit's own listeners: Enter on a suggestion does not send what is typed.
  document.addEventListener("keydown", (event) => {
    if (!ours(event) || event.isComposing) return;
    const stop = () => { event.preventDefault(); event.stopPropagation(); };
    const last = state.items.length - 1;
    if (event.key === "Enter" && state.open && state.at >= 0) {
      stop();
      choose(state.at);
    } else if (event.key === "Enter") close();
    else if (event.key === "Escape" && state.open) {
      stop();
      close();
    } else if (event.key === "ArrowDown" && state.open) {
      stop();
      mark(state.at >= last ? -1 : state.at + 1);
    } else if (event.key === "ArrowUp" && state.open) {
      stop();
      mark(state.at < 0 ? last : state.at - 1);
    }
  }, true);
  window.addEventListener("scroll", place, true);
  window.addEventListener("resize", place);
}

export default function ({ data, parentElement, setStateValue }) {
  state.root = parentElement;
  state.tell = (text) => setStateValue("typed", text);
  if (!window.wvaSuggestions) {
    window.wvaSuggestions = true;
    listen();
  }
  if (state.key !== data.key) state.known.clear(); // another index, or its next generation
  state.key = data.key;
  if (data.typed) state.known.set(data.typed, data.items);
  if (state.waiting !== null && state.waiting === data.typed) {
    state.waiting = null;
    if (box()?.value === data.typed) show(data.items);
  }
  if (box()) describe(box());
}
