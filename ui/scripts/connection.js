// Streamlit asks for the internet when its server does not answer; this one is on this machine.
(() => {
  if (window.wvaConnection) return;
  window.wvaConnection = true;
  const THEIRS = "Streamlit server is not responding";
  const OURS =
    "The program behind this page does not answer: it was stopped, or this computer slept. Start " +
    "it again with the command wva ui; this page goes on by itself, with your search kept.";
  const reword = () => {
    for (const dialog of document.querySelectorAll('[role="dialog"]')) {
      const texts = document.createTreeWalker(dialog, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        if (texts.currentNode.data.includes(THEIRS)) texts.currentNode.data = OURS;
      }
    }
  };
  new MutationObserver(reword).observe(document.body, { childList: true, subtree: true });
  reword();
})();
