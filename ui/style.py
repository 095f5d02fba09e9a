"""The page's style sheets; colours follow the theme, light or dark."""

CSS = """<style>
.stMainBlockContainer { padding: 3.6rem 1.5rem 2rem; max-width: 112rem; }
.stMainBlockContainer > .stVerticalBlock { gap: .5rem; }
.wva-hidden.wva-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); margin: 0; padding: 0; }
.wva-head h1 { font-size: 1.5rem; font-weight: 650; letter-spacing: -0.01em; padding: 0;
  margin: 0; }
.wva-part.wva-part { font-size: 1.08rem; font-weight: 650; padding: 0; margin: .6rem 0 -.4rem; }
.wva-title.wva-title { font-size: 1.28rem; font-weight: 650; padding: 0; margin: 1.4rem 0 -.3rem;
  overflow-wrap: anywhere; }
.wva-note { margin: .15rem 0 0; opacity: .72; font-size: .9rem; }
.st-key-q input { font-size: 1.08rem; }
.wva-file.wva-file { font-weight: 650; font-size: 1rem; line-height: 1.35; padding: 0; margin: 0;
  letter-spacing: 0; overflow-wrap: anywhere; }
.wva-page { font-weight: 500; font-size: .82rem; margin-left: .55rem; padding: .08rem .5rem;
  border-radius: 1rem; white-space: nowrap; vertical-align: .08em;
  background: color-mix(in srgb, currentColor 9%, transparent); }
.wva-where { opacity: .72; font-size: .86rem; line-height: 1.4; overflow-wrap: anywhere; }
.wva-place { min-width: 0; }
.wva-text, .wva-context { white-space: pre-line; overflow-wrap: anywhere; line-height: 1.62; }
.wva-text { margin: .6rem 0 0; }
:is(.wva-card, .wva-best, .wva-context) mark { color: inherit; font-weight: 600; padding: 0 .1em;
  border-radius: .2em; background: rgba(255, 193, 7, .34); }
.wva-context { margin-top: .55rem; padding: .9rem 1.1rem; border-radius: .5rem;
  background: color-mix(in srgb, currentColor 5%, transparent); }
.wva-found { background: color-mix(in srgb, #4a86e8 20%, transparent); border-radius: .2em;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; padding: .1em .15em; }
.wva-facts.wva-facts { display: grid; grid-template-columns: auto 1fr; gap: .3rem .9rem;
  margin: 0; padding: 0; font-size: .9rem; }
.wva-facts dt { opacity: .72; font-weight: 400; margin: 0; }
.wva-facts span { white-space: nowrap; }
.wva-facts dd { margin: 0; text-align: right; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
.wva-files.wva-files { list-style: none; margin: 0; padding: 0; font-size: .86rem;
  line-height: 1.4; }
.wva-files li { margin: 0 0 .55rem; padding: 0; overflow-wrap: anywhere; }
.wva-files small { display: block; opacity: .72; }
.wva-count { font-variant-numeric: tabular-nums; font-weight: 600; margin-right: .35rem; }
.wva-card.wva-clicked { border: 0; padding: .3rem 0 .8rem; }
</style>"""

# The list of results, and the opened one beside it on a wide window or in its place.
LIST_CSS = """<style>
.st-key-split { flex-wrap: nowrap; align-items: flex-start; }
.stElementContainer:has(> div > .wva-results), .wva-results { width: 100%; }
.st-key-found h2.wva-count { font-size: .92rem; font-weight: 500; opacity: .8; padding: 0;
  margin: 0; letter-spacing: 0; }
.st-key-found button { min-height: 1.6rem; padding: 0 .3rem; }
.wva-status { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); }
.wva-results { font-size: .95rem; container-type: inline-size; }
.wva-results :is(button, a[data-act]) { font: inherit; color: inherit; background: none;
  border: 0; padding: .05rem .35rem; border-radius: .3rem; cursor: pointer; }
.wva-results :is(button, a[data-act]):hover { background: color-mix(in srgb, currentColor 10%,
  transparent); }
.wva-verdict.wva-verdict { margin: .1rem 0 .3rem; font-weight: 600; }
.wva-results .wva-note { margin: .1rem 0 .3rem; }
.wva-best { border: 1px solid color-mix(in srgb, currentColor 16%, transparent);
  border-left: 4px solid #3b78d8; border-radius: .4rem; padding: .4rem .7rem; margin: .1rem 0 .45rem;
  background: color-mix(in srgb, #4a86e8 7%, transparent); }
.wva-best p { margin: 0; font-size: 1rem; line-height: 1.45; overflow-wrap: anywhere;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
.wva-best a { font-size: .84rem; opacity: .8; padding: 0; text-decoration: underline;
  text-underline-offset: .2em; }
.wva-list.wva-list { list-style: none; margin: 0; padding: 0; }
.wva-list > li { margin: 0; padding: 0; }
.wva-card { padding: .4rem 0 .35rem;
  border-top: 1px solid color-mix(in srgb, currentColor 13%, transparent); }
.wva-card > header { display: flex; gap: .8rem; justify-content: space-between;
  align-items: baseline; }
.wva-card > header .wva-place { display: flex; gap: .2rem .6rem; align-items: baseline;
  overflow: hidden; }
.wva-card > header .wva-file { flex: 0 1 auto; }
.wva-card > header .wva-where { flex: 1 1 4rem; min-width: 4rem; white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; }
.wva-strength { flex: none; font-size: .84rem; white-space: nowrap; cursor: help; }
.wva-strength [aria-hidden] { letter-spacing: .05em; color: #3b78d8; }
.wva-weak, .wva-likely { opacity: .8; }
.wva-hit { position: relative; padding: .15rem .4rem .15rem .5rem; margin: .1rem 0 0 -.5rem;
  border-radius: .4rem; border-left: 3px solid transparent; scroll-margin: 4.5rem 0 1rem; }
.wva-hit:hover { background: color-mix(in srgb, currentColor 4%, transparent); }
.wva-hit[aria-current] { border-left-color: #3b78d8;
  background: color-mix(in srgb, #4a86e8 9%, transparent); }
.wva-hit:focus-visible, .wva-results :focus-visible { outline: 2px solid #3b78d8;
  outline-offset: 1px; }
.wva-hit .wva-text { margin: 0; line-height: 1.45; white-space: normal; cursor: pointer;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
.wva-hit .wva-text[hidden] { display: none; }
.wva-hit .wva-whole { white-space: pre-line; overflow-wrap: anywhere; line-height: 1.55;
  padding: .2rem 0 .3rem; }
.wva-hit > .wva-open.wva-open { float: left; font-size: .82rem; line-height: 1.3; margin: .1rem .5rem 0 0;
  padding: .06rem .45rem; border-radius: 1rem; text-decoration: none;
  background: color-mix(in srgb, currentColor 9%, transparent); }
.wva-sentence.wva-sentence { font-weight: 600; }
.wva-tools { position: absolute; right: .3rem; bottom: .1rem; display: flex; font-size: .84rem;
  border-radius: .4rem; line-height: 1.3; background: var(--wva-back, Canvas); opacity: 0; }
.wva-hit:is(:hover, :focus-within, [aria-current]) .wva-tools { opacity: 1; }
.wva-hit:has(.wva-whole:not([hidden])) .wva-tools { position: static; opacity: 1; width: fit-content; }
.wva-others.wva-others { font-size: .84rem; opacity: .85; padding: .05rem .45rem; }
.wva-others::before { content: "▸ "; }
.wva-others[aria-expanded=true]::before { content: "▾ "; }
@media (hover: none) { .wva-tools { position: static; opacity: 1; width: fit-content; } }

.st-key-pane-head button, .st-key-pane-bar button, .st-key-leaves button { min-height: 1.9rem;
  padding: 0 .4rem; }
.st-key-pane .stVerticalBlock { gap: .35rem; }
div:has(> .st-key-pane-top) { position: sticky; top: -.5rem; z-index: 91; padding: .5rem 0 .2rem;
  margin-top: -.5rem; backdrop-filter: blur(14px);
  background: color-mix(in srgb, Canvas 95%, transparent); }
.st-key-pane h2:focus { outline: none; }
@media (min-width: 1100px) {
  .st-key-split > :has(> .st-key-list) { flex: 1 1 46%; min-width: 0; max-width: 58rem; }
  .st-key-split:not(:has(.wva-opened)) > :has(> .st-key-pane) { display: none; }
  .st-key-split > :has(> .st-key-pane) { flex: 1 1 54%; min-width: 0; position: sticky;
    top: 3.9rem; max-height: calc(100vh - 4.3rem); overflow: auto; border-radius: .6rem;
    border: 1px solid color-mix(in srgb, currentColor 14%, transparent); padding: .5rem .8rem; }
}
@media (max-width: 1099px) {
  .st-key-split:has(.wva-opened:not(.wva-auto)) > :has(> .st-key-list) { display: none; }
  .st-key-split:not(:has(.wva-opened:not(.wva-auto))) > :has(> .st-key-pane) { display: none; }
}
@media (max-width: 40rem) {
  .stMainBlockContainer { padding-left: .8rem; padding-right: .8rem; }
  .wva-card > header { flex-wrap: wrap; gap: 0 .6rem; }
}
</style>"""

# Drawn here: Streamlit would fetch its own icons from another server.
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#4a86e8"
 stroke-width="3" stroke-linecap="round"><circle cx="10" cy="10" r="6.5"/><path d="m15 15 6 6"/>
</svg>"""

# Streamlit has no autofocus; the page's own words only, nothing of a document gets in here.
FOCUS = """<script>
(() => {
  let tries = 40;
  const focus = () => {
    const box = document.querySelector(".st-key-q input");
    if (box) { if (document.activeElement === document.body) box.focus({preventScroll: true}); }
    else if (tries-- > 0) setTimeout(focus, 50);
  };
  focus();
})();
</script>"""

# A page of paper is white in the dark, too; what is marked on it is drawn through, as with a pen.
DOCUMENT_CSS = """<style>
.wva-paper { position: relative; margin: 0; line-height: 0; background: #fff; border-radius: .3rem;
  box-shadow: 0 0 0 1px color-mix(in srgb, currentColor 22%, transparent); overflow: hidden; }
.wva-paper img { width: 100%; height: auto; border-radius: 0; }
.wva-paper span { position: absolute; mix-blend-mode: multiply; }
.wva-boxed { outline: 2px solid #3b78d8; outline-offset: 4px; border-radius: 2px;
  background: rgb(74 134 232 / .10); box-shadow: 0 0 0 4px rgb(74 134 232 / .10); }
.wva-shade { border-radius: 2px; }
.wva-text-page { line-height: 1.62; overflow-wrap: anywhere; max-width: 46rem; }
.wva-text-page p { margin: 0 0 .9rem; white-space: pre-line; }
.wva-text-page :is(h2, h3, h4, h5, h6) { font-weight: 650; line-height: 1.35; padding: 0;
  margin: 1.3rem 0 .5rem; letter-spacing: 0; }
.wva-text-page h2 { font-size: 1.35rem; }
.wva-text-page h3 { font-size: 1.18rem; }
.wva-text-page :is(h4, h5, h6) { font-size: 1.03rem; }
.wva-text-page pre { white-space: pre-wrap; font-size: .86rem; line-height: 1.5; margin: 0 0 .9rem;
  padding: .8rem 1rem; border-radius: .5rem; color: inherit; border: 0;
  background: color-mix(in srgb, currentColor 6%, transparent); }
.wva-table { overflow-x: auto; margin: 0 0 .9rem; }
.wva-table table { border-collapse: collapse; font-size: .92rem; }
.wva-table td { padding: .3rem .7rem; vertical-align: top; text-align: start;
  border: 1px solid color-mix(in srgb, currentColor 18%, transparent); }
.wva-table tr:first-child td { font-weight: 600; }
.wva-text-page mark { color: inherit; font-weight: 600; border-radius: .2em;
  background: var(--weight); }
.wva-text-page .wva-sentence { text-decoration: underline 2px #3b78d8; text-underline-offset: .2em; }
.wva-paper span.wva-sentence { border-left: 4px solid #3b78d8; margin-left: -10px; }
.wva-here { scroll-margin: 30vh 0; }
.st-key-leaves button { white-space: nowrap; }
.st-key-leaves { padding: .4rem 0; backdrop-filter: blur(14px);
  background: color-mix(in srgb, Canvas 95%, transparent); }
@media (max-width: 40rem) {
  .st-key-leaves .st-key-leaf { width: 5.2rem; }
  .st-key-leaves :is(.st-key-close, .st-key-previous, .st-key-next, .st-key-home) p {
    position: absolute; overflow: hidden; width: 1px; height: 1px; clip-path: inset(50%); }
}
</style>"""


def scroll_to_passage(leaf: int) -> str:
    """The script that scrolls to a leaf's passage once; only a number gets into it."""
    return f"""<script>
/* {leaf:d} */
(() => {{
  let tries = 20;
  const go = () => {{
    const here = document.querySelector(".wva-here");
    const box = here?.closest(".st-key-pane")?.parentElement;
    if (here && here.getBoundingClientRect().height) {{
      const top = here.getBoundingClientRect().top - box.getBoundingClientRect().top;
      if (getComputedStyle(box).overflowY === "auto") box.scrollTop += top - box.clientHeight / 4;
      else here.scrollIntoView({{block: "start"}});
    }}
    else if (tries-- > 0) setTimeout(go, 50);
  }};
  setTimeout(go, 50);
}})();
</script>"""


__all__ = ["CSS", "DOCUMENT_CSS", "FOCUS", "ICON", "LIST_CSS", "scroll_to_passage"]
