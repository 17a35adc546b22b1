// Live progress: the page is fetched again, and what changed in its live parts is shown. Without this script
// the page is the same and has to be loaded again by hand.
"use strict";

const BUSY_MS = 2000;
const CALM_MS = 15000;

// What somebody is filling in, has ticked or has opened is not taken away.
function isBeingUsed(part) {
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  return Boolean(focused?.matches("input, textarea, select") || part.querySelector("input:checked, details[open]"));
}

function replaceChanged(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (!other) {
      continue;
    }
    part.dataset.live = other.dataset.live;
    if (other.innerHTML === part.innerHTML || isBeingUsed(part)) {
      continue;
    }
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    part.replaceChildren(...other.cloneNode(true).childNodes);
    if (focused) {
      const same = (each) => each.getAttribute("href") === focused.getAttribute("href") && each.textContent === focused.textContent;
      [...part.querySelectorAll("a, button")].find(same)?.focus();
    }
  }
}

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch(location.origin + location.pathname + location.search, { headers: { Accept: "text/html" } });
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
