// Copies the text of an element, over plain http as well, where browsers give pages no clipboard.
function copyText(selector, button) {
  const text = document.querySelector(selector).textContent;
  const area = document.createElement("textarea");
  area.value = text;
  area.setAttribute("readonly", "");
  area.style.position = "fixed";
  area.style.opacity = "0";
  (document.querySelector("dialog[open], .q-dialog") || document.body).appendChild(area);
  area.select();
  const good = document.execCommand("copy");
  area.remove();
  const label = button.querySelector(".block") || button;
  const before = label.textContent;
  label.textContent = good ? "Copied" : "Press Ctrl-C";
  setTimeout(() => { label.textContent = before; }, 1500);
}
