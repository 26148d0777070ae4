// Keep the page as the class is: every few seconds the page is asked for again, and what differs
// is put in place. What has the focus is left alone; without this file the page still works.
"use strict";

const EVERY = 5000;
const pause = document.getElementById("pause");
const trouble = document.getElementById("trouble");
let paused = false;

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Go on updating" : "Pause updates";
});

function put(now, next) {
  if (now.innerHTML !== next.innerHTML) now.innerHTML = next.innerHTML;
}

// Rows are moved and filled cell by cell: a link that has the focus keeps it.
function putRows(now, next) {
  const focused = document.activeElement;
  const seen = new Set();
  [...next.rows].forEach((fresh, index) => {
    const old = document.getElementById(fresh.id);
    const row = old || document.importNode(fresh, true);
    seen.add(row);
    if (old) {
      old.className = fresh.className;
      [...fresh.cells].forEach((cell, at) => put(old.cells[at], cell));
    }
    if (now.rows[index] !== row) now.insertBefore(row, now.rows[index] || null);
  });
  [...now.rows].filter((row) => !seen.has(row)).forEach((row) => row.remove());
  if (now.contains(focused) && document.activeElement !== focused) {
    focused.focus({ preventScroll: true });
  }
}

async function renew() {
  if (paused || document.hidden) return;
  try {
    const proof = document.querySelector("meta[name=proof]").content;
    const answer = await fetch(location.href, { headers: { "X-XSRFToken": proof } });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok || !fresh.getElementById("made")) throw new Error("no page of ours");
    document.title = fresh.title;
    document.querySelectorAll("[data-live]").forEach((now) => {
      put(now, fresh.getElementById(now.id));
    });
    document.querySelectorAll("[data-rows]").forEach((now) => {
      putRows(now, fresh.getElementById(now.id));
    });
    trouble.textContent = "";
  } catch {
    trouble.textContent =
      "No answer: this is how it was then. If it stays so, load the page again and sign in.";
  }
}

setInterval(renew, EVERY);
document.addEventListener("visibilitychange", renew);
