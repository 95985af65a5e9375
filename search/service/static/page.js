// Keeps the parts of a page that change up to date, and makes its forms quicker to use.
// Everything works without it as well: the page is rendered by the server, and its forms post.
"use strict";

const MAX_PAUSE = 30;
const connection = document.getElementById("connection");

for (const place of document.querySelectorAll("[data-live]")) keepUpToDate(place);
for (const form of document.querySelectorAll("form[data-into]")) answerInPlace(form);
for (const editor of document.querySelectorAll(".editor")) numberLines(editor);
beginAt(document.querySelector("main [role=alert], #cost"));

// Has whoever uses a keyboard or a screen reader begin at what an answer is about.
function beginAt(element) {
  if (!element) return;
  element.tabIndex = -1;
  element.focus();
}

// Asks for an element's content again and again, as long as somebody looks at the page.
function keepUpToDate(place) {
  const every = Number(place.dataset.every);
  let version = null;
  let pause = every;
  async function ask() {
    if (!document.hidden) {
      try {
        const headers = version ? { "If-None-Match": version } : {};
        const answer = await fetch(place.dataset.live, { headers });
        if ([401, 403, 404].includes(answer.status)) {
          location.reload(); // the token was revoked, or the study deleted: the page says so
          return;
        }
        if (answer.status === 200) {
          version = answer.headers.get("ETag");
          replaceParts(place, await answer.text());
        }
        const reached = answer.status === 200 || answer.status === 304;
        say(reached ? "" : "The service is not well; trying again.");
        pause = reached ? every : Math.min(2 * pause, MAX_PAUSE);
      } catch {
        say("The service cannot be reached; trying again.");
        pause = Math.min(2 * pause, MAX_PAUSE);
      }
    }
    setTimeout(ask, 1000 * pause);
  }
  setTimeout(ask, 1000 * every);
}

function say(words) {
  if (connection.textContent !== words) connection.textContent = words;
}

function parsed(text) {
  return new DOMParser().parseFromString(text, "text/html");
}

// Replaces the parts that are not the same any more, but none in which somebody types.
function replaceParts(place, text) {
  for (const fresh of parsed(text).querySelectorAll("[data-part]")) {
    const old = place.querySelector(`[data-part="${fresh.dataset.part}"]`);
    if (!old) place.append(fresh);
    else if (old.innerHTML !== fresh.innerHTML && !isTypedInto(old)) replaceContent(old, fresh);
  }
}

function isTypedInto(part) {
  const active = document.activeElement;
  return part.contains(active) && active.matches("input:not([type=checkbox]), textarea, select");
}

// Keeps what is ticked, what is focused, and how far it is scrolled.
function replaceContent(old, fresh) {
  const ticked = new Set([...old.querySelectorAll("input:checked")].map((input) => input.value));
  const scrolled = [...old.querySelectorAll(".scroll")].map((each) => [each.scrollLeft, each.scrollTop]);
  const focused = old.contains(document.activeElement) ? mark(document.activeElement) : null;
  for (const input of fresh.querySelectorAll("input[type=checkbox]")) {
    input.checked = ticked.has(input.value);
  }
  old.replaceChildren(...fresh.childNodes);
  old.querySelectorAll(".scroll").forEach((each, index) => {
    if (scrolled[index]) [each.scrollLeft, each.scrollTop] = scrolled[index];
  });
  if (focused) {
    for (const each of old.querySelectorAll("a, button, input, [tabindex]")) {
      if (mark(each) === focused) {
        each.focus({ preventScroll: true });
        break;
      }
    }
  }
}

function mark(element) {
  return [element.tagName, element.getAttribute("href"), element.value, element.textContent].join("\n");
}

// Shows the answer to a form without leaving the page.
function answerInPlace(form) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const place = document.getElementById(form.dataset.into);
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const query = new URLSearchParams(new FormData(form));
      const answer = await fetch(`${form.action}?${query}`, { headers: { Accept: "text/html" } });
      if ([401, 403, 404].includes(answer.status)) {
        location.reload();
        return;
      }
      const page = parsed(await answer.text());
      const fresh = answer.ok ? page.getElementById(place.id) : page.querySelector("[role=alert]");
      if (fresh) place.replaceChildren(...(answer.ok ? fresh.childNodes : [fresh]));
      say(fresh ? "" : "The service is not well; try again.");
    } catch {
      say("The service cannot be reached; try again.");
    }
    button.disabled = false;
    button.focus();
  });
}

// Numbers the lines of the study file beside it, and leads from a mistake to its line.
function numberLines(editor) {
  const text = editor.querySelector("textarea");
  const gutter = editor.querySelector(".gutter");
  text.addEventListener("input", () => {
    const count = text.value.split("\n").length;
    while (gutter.childElementCount > count) gutter.lastElementChild.remove();
    for (let number = gutter.childElementCount + 1; number <= count; number += 1) {
      const line = document.createElement("span");
      line.textContent = `${number}\n`;
      gutter.append(line);
    }
    gutter.scrollTop = text.scrollTop;
  });
  text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
  const follow = () => { gutter.style.height = `${text.offsetHeight}px`; };
  new ResizeObserver(follow).observe(text);
  for (const link of document.querySelectorAll("a[data-line]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const lines = text.value.split("\n");
      const index = Number(link.dataset.line) - 1;
      const start = lines.slice(0, index).reduce((sum, line) => sum + line.length + 1, 0);
      text.focus();
      text.setSelectionRange(start, start + (lines[index] || "").length);
      text.scrollTop = Math.max(0, index - 3) * parseFloat(getComputedStyle(text).lineHeight);
    });
  }
}
