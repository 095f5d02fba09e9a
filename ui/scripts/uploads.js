// Files are checked before they are transferred, and can be dropped anywhere on the page. Only our
// own words and the names of the visitor's files get in here, and names are shown as text alone.
(() => {
  window.wvaUploads = LIMITS;
  if (window.wvaUploadGuard) return;
  window.wvaUploadGuard = true;
  // Where Streamlit takes no files it still has an enabled input, and drops what that is given.
  const field = () =>
    document.querySelector(".st-key-uploads section[aria-disabled=false] input[type=file]");
  const isThere = () => document.querySelector(".st-key-uploads");
  const most = (name) => {
    const { endings, names } = window.wvaUploads;
    const small = name.toLowerCase(), dot = small.lastIndexOf(".");
    if (names.includes(small)) return endings[".txt"];
    return (dot >= 0 && endings[small.slice(dot)]) || 0;
  };
  const BUSY = "Documents are being indexed; drop the files again when that is done. " +
    "They were not uploaded.";
  const mb = (bytes) => `${Math.round(bytes / 1e6)} MB`;
  const why = (file) => {
    const limit = most(file.name);
    if (!limit) return `“${file.name}” is of no format that is read; it was not uploaded.`;
    if (file.size <= limit) return "";
    return `“${file.name}” has ${mb(file.size)}, and ${mb(limit)} is the most: split it. ` +
      "It was not uploaded.";
  };
  const say = (lines) => {
    const place = document.querySelector(".wva-refused");
    if (!place) return;
    place.replaceChildren(...lines.map((line) => {
      const told = document.createElement("p");
      told.textContent = line;
      return told;
    }));
  };
  const sieve = (files) => {
    const all = [...files], refused = all.map(why).filter(Boolean);
    say(refused);
    const kept = new DataTransfer();
    all.filter((file) => !why(file)).forEach((file) => kept.items.add(file));
    return [kept.files, refused.length];
  };
  document.addEventListener("change", (event) => {
    const input = event.target;
    if (event.wvaChecked || !input.files?.length) return;
    if (!input.matches(".st-key-uploads input[type=file]")) return;
    const [kept, refused] = sieve(input.files);
    if (!refused) return;
    input.files = kept;
    if (!kept.length) event.stopImmediatePropagation();
  }, true);
  // Streamlit's field is focusable and "presentation" at once, which a screen reader cannot be told.
  const mend = () => {
    for (const field of document.querySelectorAll(".st-key-uploads section[role=presentation]")) {
      field.setAttribute("role", "group");
    }
  };
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  mend();
  const carries = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const over = (event) => {
    if (!carries(event) || !isThere()) return;
    event.preventDefault();
    document.body.classList.toggle("wva-dropping", event.type !== "dragleave" && !!field());
  };
  for (const type of ["dragenter", "dragover"]) document.addEventListener(type, over);
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(event); });
  document.addEventListener("drop", (event) => {
    const input = field();
    if (!carries(event) || !isThere()) return;
    event.preventDefault(); // else the browser opens the file, and leaves the page
    event.stopPropagation();
    document.body.classList.remove("wva-dropping");
    if (!input) return say([BUSY]);
    const [kept] = sieve(event.dataTransfer.files);
    if (!kept.length) return;
    input.files = kept;
    input.dispatchEvent(
      Object.assign(new Event("change", { bubbles: true }), { wvaChecked: true }));
  }, true);
})();
