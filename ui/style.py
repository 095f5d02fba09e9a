"""The page's style sheets; colours follow the theme, light or dark."""

CSS = """<style>
.stMainBlockContainer { padding-top: 3.2rem; max-width: 54rem; }
.wva-head h1 { font-size: 1.5rem; font-weight: 650; letter-spacing: -0.01em; padding: 0;
  margin: 0; }
.wva-headline.wva-headline { margin-top: -.75rem; }
.wva-part.wva-part { font-size: 1.08rem; font-weight: 650; padding: 0; margin: .6rem 0 -.4rem; }
.wva-title.wva-title { font-size: 1.28rem; font-weight: 650; padding: 0; margin: 1.4rem 0 -.3rem;
  overflow-wrap: anywhere; }
.wva-note { margin: .15rem 0 0; opacity: .68; font-size: .92rem; }
.st-key-q input { font-size: 1.08rem; }
.st-key-found { margin-bottom: -.4rem; }
.st-key-found .wva-results > .wva-note { margin: 0; }
[class*="st-key-result-"] .stButton { margin-top: -.35rem; }
.wva-verdict { margin: .15rem 0 .4rem; font-weight: 600; }
.wva-card { padding: 1.15rem 0 .35rem;
  border-top: 1px solid color-mix(in srgb, currentColor 13%, transparent); }
.wva-card header { display: flex; gap: 1.25rem; justify-content: space-between;
  align-items: flex-start; }
.wva-place { min-width: 0; }
.wva-file { font-weight: 650; font-size: 1.03rem; line-height: 1.35; overflow-wrap: anywhere; }
.wva-page { font-weight: 500; font-size: .82rem; margin-left: .55rem; padding: .08rem .5rem;
  border-radius: 1rem; white-space: nowrap; vertical-align: .08em;
  background: color-mix(in srgb, currentColor 9%, transparent); }
.wva-where { opacity: .68; font-size: .88rem; line-height: 1.4; margin-top: .12rem;
  overflow-wrap: anywhere; }
.wva-score { flex: none; text-align: right; font-variant-numeric: tabular-nums;
  font-size: .92rem; line-height: 1.45; cursor: help; }
.wva-label, .wva-sides { opacity: .68; font-size: .8rem; }
.wva-text, .wva-context { white-space: pre-line; overflow-wrap: anywhere; line-height: 1.62; }
.wva-text { margin: .6rem 0 0; }
.wva-card mark, .wva-context mark { color: inherit; font-weight: 600; padding: 0 .1em;
  border-radius: .2em; background: rgba(255, 193, 7, .34); }
.wva-more { margin-top: .5rem; font-size: .9rem; }
.wva-more summary { cursor: pointer; opacity: .75; width: fit-content; border-radius: .3rem; }
.wva-more summary:hover { opacity: 1; text-decoration: underline; text-underline-offset: .2em; }
.wva-context { margin-top: .55rem; padding: .9rem 1.1rem; border-radius: .5rem;
  background: color-mix(in srgb, currentColor 5%, transparent); }
.wva-found { background: color-mix(in srgb, #4a86e8 20%, transparent); border-radius: .2em;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; padding: .1em .15em; }
.wva-facts.wva-facts { display: grid; grid-template-columns: auto 1fr; gap: .3rem .9rem;
  margin: 0; padding: 0; font-size: .9rem; }
.wva-facts dt { opacity: .68; font-weight: 400; margin: 0; }
.wva-facts span { white-space: nowrap; }
.wva-modes.wva-modes { margin: .6rem 0 0; padding: 0; font-size: .92rem; line-height: 1.5;
  display: grid; grid-template-columns: auto 1fr; gap: .4rem 1.1rem; }
.wva-modes dt { font-weight: 600; margin: 0; }
.wva-modes dd { margin: 0; opacity: .75; }
.wva-facts dd { margin: 0; text-align: right; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
.wva-files.wva-files { list-style: none; margin: 0; padding: 0; font-size: .86rem;
  line-height: 1.4; }
.wva-files li { margin: 0 0 .55rem; padding: 0; overflow-wrap: anywhere; }
.wva-count { font-variant-numeric: tabular-nums; font-weight: 600; margin-right: .35rem; }
.wva-card.wva-clicked { border: 0; padding: .3rem 0 .8rem; }
.wva-files small { display: block; opacity: .68; }
@media (max-width: 40rem) {
  .wva-card header { flex-direction: column; gap: .2rem; }
  .wva-score { text-align: left; }
  .wva-sides { display: inline; margin-left: .6rem; }
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
.wva-here { scroll-margin: 30vh 0; }
.st-key-leaves button { white-space: nowrap; }
.st-key-leaves { padding: .4rem 0; backdrop-filter: blur(14px);
  background: color-mix(in srgb, Canvas 95%, transparent); }
div:has(> .st-key-leaves) { position: sticky; top: 3.7rem; z-index: 90; }
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
    if (here && here.getBoundingClientRect().height) here.scrollIntoView({{block: "start"}});
    else if (tries-- > 0) setTimeout(go, 50);
  }};
  setTimeout(go, 50);
}})();
</script>"""


__all__ = ["CSS", "DOCUMENT_CSS", "FOCUS", "ICON", "scroll_to_passage"]
