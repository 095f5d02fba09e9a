"""The page's style sheets (`ui/styles`) and small scripts."""

from __future__ import annotations

import re
from pathlib import Path

_STYLES = Path(__file__).with_name("styles")


def style_sheet(*names: str) -> str:
    """Style sheets of `ui/styles` as one HTML element."""
    sheets = (_STYLES.joinpath(f"{name}.css").read_text("utf-8") for name in names)
    return f"<style>{''.join(sheets)}</style>"


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


def scroll_to_passage(leaf: int, passage: str) -> str:
    """The script that scrolls to a leaf's passage, once for each `passage` (its id).

    Only a number and the letters and digits of the id get into it.
    """
    return f"""<script>
/* {leaf:d} {_letters(passage)} */
(() => {{
  let tries = 20;
  const go = () => {{
    const pane = document.querySelector(".st-key-pane");
    const here = pane?.querySelector(".wva-sentence") || document.querySelector(".wva-here");
    const box = here?.closest(".st-key-pane")?.parentElement;
    if (here && here.getBoundingClientRect().height) {{
      const top = here.getBoundingClientRect().top - box.getBoundingClientRect().top;
      const to = box.scrollTop + top - box.clientHeight / 4;
      // Near the top nothing needs to move away.
      if (getComputedStyle(box).overflowY === "auto") box.scrollTop = to < 160 ? 0 : to;
      else here.scrollIntoView({{block: "start"}});
    }}
    else if (tries-- > 0) setTimeout(go, 50);
  }};
  setTimeout(go, 50);
}})();
</script>"""


def scroll_to_top(passage: str) -> str:
    """The script that scrolls the pane to its top, once for each `passage` (its id)."""
    return f"""<script>
/* {_letters(passage)} */
document.querySelector(".st-key-pane")?.parentElement.scrollTo(0, 0);
</script>"""


def _letters(id_: str) -> str:
    return re.sub(r"[^0-9a-z]", "", id_)


__all__ = ["FOCUS", "ICON", "scroll_to_passage", "scroll_to_top", "style_sheet"]
