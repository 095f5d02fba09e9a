// The words of the question and the passage: pointing at a word shows what it met.
//
// `data.html` is made and escaped by ui/evidence.py. `data.met` has for each word of the question
// the words of the passage that it met: [number, colour, weight], and a sentence that says so.

const LINES = 4;

const curve = (from, to, box) => {
  const x = from.left + from.width / 2 - box.left, y = from.bottom - box.top;
  const end = to.left + to.width / 2 - box.left, below = to.top - box.top + 1;
  const half = (y + below) / 2;
  return `M${x},${y} C${x},${half} ${end},${half} ${end},${below}`;
};

const draw = (root, button, met) => {
  const svg = root.querySelector(".wva-lines");
  const box = root.getBoundingClientRect();
  svg.replaceChildren();
  if (!button) return;
  const from = button.getBoundingClientRect();
  const best = met.filter(([, , weight]) => weight > 0).sort((a, b) => b[2] - a[2]);
  for (const [at, , weight] of best.slice(0, LINES)) {
    const mark = root.querySelector(`mark[data-at="${at}"]`);
    if (!mark || !mark.getClientRects().length) continue;
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", curve(from, mark.getClientRects()[0], box));
    path.setAttribute("stroke-width", (0.8 + 1.4 * weight).toFixed(2));
    svg.append(path);
  }
};

const shade = (root, met) => {
  const chosen = met && new Map(met.map(([at, colour, weight]) => [String(at), [colour, weight]]));
  for (const mark of root.querySelectorAll("mark[data-at]")) {
    const [colour, weight] = chosen
      ? chosen.get(mark.dataset.at) || ["", 0]
      : [mark.dataset.colour || "", Number(mark.dataset.weight || 0)];
    mark.style.setProperty("--weight", colour || "transparent");
    mark.classList.toggle("wva-off", !weight);
    mark.classList.toggle("wva-strong", weight >= 0.5);
    mark.classList.toggle("wva-minus", weight < 0);
  }
};

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".wva-evidence");
  if (root.shown !== data.html) {
    root.querySelector(".wva-shown").innerHTML = data.html;
    root.shown = data.html;
    root.pinned = null;
  }
  const told = root.querySelector(".wva-met");
  const buttons = [...root.querySelectorAll("button[data-word]")];
  const show = (button) => {
    const met = button && data.met[Number(button.dataset.word)];
    shade(root, met && met.shades);
    draw(root, button, met ? met.shades : []);
    if (told) told.textContent = met ? met.said : told.dataset.said;
    for (const one of buttons) one.classList.toggle("wva-on", one === button);
  };
  const rest = () => show(root.pinned);
  for (const button of buttons) {
    button.onmouseenter = button.onfocus = () => show(button);
    button.onmouseleave = button.onblur = rest;
    button.onclick = () => {
      root.pinned = root.pinned === button ? null : button;
      for (const one of buttons) one.setAttribute("aria-pressed", String(one === root.pinned));
      rest();
    };
  }
  const again = new ResizeObserver(rest);
  again.observe(root);
  rest();
  return () => again.disconnect();
}
