// Buttons that copy the line beside them. Without this script they are not shown, and a press on the line selects it.
"use strict";

document.documentElement.classList.add("scripted");

async function copy(button) {
  const line = button.closest(".line").querySelector("code");
  const selection = window.getSelection();
  selection.selectAllChildren(line);
  let copied = false;
  try {
    await navigator.clipboard.writeText(line.textContent);
    copied = true;
  } catch {
    // No clipboard without https, or the browser forbids it; the older way works on any page.
    copied = document.execCommand("copy");
  }
  button.textContent = copied ? "Copied" : "Press Ctrl-C";
  button.focus();
}

document.addEventListener("click", (event) => {
  if (event.target.matches("button.copy")) {
    copy(event.target);
  }
});
