// Live progress: the page is fetched again, and what changed in its live parts is shown. Without this script
// the page is the same and has to be loaded again by hand.
"use strict";

const BUSY_MS = 2000;
const CALM_MS = 15000;

function replaceChanged(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (!other || other.innerHTML === part.innerHTML) {
      continue;
    }
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceChildren(...other.cloneNode(true).childNodes);
    part.dataset.live = other.dataset.live;
    if (focused) {
      [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
    }
  }
}

// A form that somebody is filling in is not taken away.
function isBeingUsed() {
  const focused = document.activeElement;
  return Boolean(focused?.closest?.("[data-live] form")) || Boolean(document.querySelector("[data-live] details[open]"));
}

async function look() {
  if (!document.hidden && !isBeingUsed()) {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) {
        replaceChanged(new DOMParser().parseFromString(await answer.text(), "text/html"));
      }
    } catch {
      // The backend is being started anew; the next look finds it.
    }
  }
  window.setTimeout(look, document.querySelector("[data-live=busy]") ? BUSY_MS : CALM_MS);
}

window.setTimeout(look, BUSY_MS);
