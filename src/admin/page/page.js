// Updates the page and sends its actions. Without JavaScript the page is complete except for the buttons.

const EVERY = 3000;
const PATIENCE = 8000;
const TOKEN = "cvsync-token";
const $ = (id) => document.getElementById(id);
document.documentElement.classList.add("scripted");

// ---- Updates only the parts of the page that differ, so that focus, open details and the scroll position stay.

function morph(from, to) {
  for (const name of from.getAttributeNames()) {
    if (!to.hasAttribute(name) && !(from.tagName === "DETAILS" && name === "open") && name !== "aria-busy") {
      from.removeAttribute(name);
    }
  }
  for (const name of to.getAttributeNames()) {
    if (from.getAttribute(name) !== to.getAttribute(name)) from.setAttribute(name, to.getAttribute(name));
  }
  if (from.hasAttribute("data-keep")) return;
  const wanted = new Set([...to.children].map((child) => child.id).filter(Boolean));
  for (const child of [...from.children]) {
    if (child.id && !wanted.has(child.id)) child.remove();
  }
  let at = from.firstChild;
  for (const want of [...to.childNodes]) {
    if (at && same(at, want)) {
      const next = at.nextSibling;
      if (at.nodeType === Node.ELEMENT_NODE) morph(at, want);
      else if (at.data !== want.data) at.data = want.data;
      at = next;
    } else if (at && !at.id && !want.id && at.nodeType === want.nodeType) {
      const next = at.nextSibling;
      at.replaceWith(want);
      at = next;
    } else {
      from.insertBefore(want, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function same(one, other) {
  return one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
}

let timer;
let answered = new Date();

/** The current state from the daemon; null if it does not respond. */
async function state() {
  try {
    // With the token, errors come with their texts and instances with their names.
    const headers = token() === null ? {} : { Authorization: `Bearer ${token()}` };
    const answer = await fetch("/?part=main", { headers, signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
    const text = await answer.text();
    return new DOMParser().parseFromString(text, "text/html").querySelector("main");
  } catch {
    return null;
  }
}

async function refresh() {
  clearTimeout(timer);
  const main = await state();
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, EVERY);
  if (main) show(main);
  else lost();
}

function show(main) {
  answered = new Date();
  $("lost").hidden = true;
  if (main.dataset.token === "wrong" && token() !== null) {
    forget();
    say("The token is wrong. Type it again.");
  }
  const changed = main.dataset.state !== $("main").dataset.state;
  morph($("main"), main);
  const sentence = $("main").querySelector("h1").textContent;
  document.title = sentence + " cvsync";
  // Screen readers announce a new state, not each new figure.
  if (changed) $("announce").textContent = sentence;
}

function lost() {
  const text = `The daemon has not responded since ${answered.toLocaleTimeString()}. The data below is from then.`;
  if ($("lost").hidden || $("lost").textContent !== text) $("lost").textContent = text;
  $("lost").hidden = false;
  $("main").classList.add("old");
  document.title = "No response from the daemon: cvsync";
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else refresh();
});
timer = setTimeout(refresh, EVERY);

// ---- The token: typed once, kept by this tab, sent with actions and updates.

const token = () => sessionStorage.getItem(TOKEN);

function showToken() {
  if (!$("token")) return;
  $("token").hidden = token() !== null;
  $("token-held").hidden = token() === null;
}

$("token")?.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token-field").value);
  $("token-field").value = "";
  showToken();
  $("token-forget").focus();
});

function forget() {
  sessionStorage.removeItem(TOKEN);
  for (const list of document.querySelectorAll("[data-keep]")) list.replaceChildren();
  showToken();
}

$("token-forget")?.addEventListener("click", () => {
  forget();
  $("token-field").focus();
});
showToken();

// ---- Actions.

let silence;

function say(text) {
  $("said").textContent = text;
  $("said").hidden = false;
  clearTimeout(silence);
  silence = setTimeout(() => { $("said").hidden = true; }, 10000);
}

/** Sends a request with the token. Returns the response, or null after it has shown an error. */
async function ask(method, path, body) {
  if (token() === null) {
    say("Type the admin token first.");
    $("token-field").focus();
    return null;
  }
  const headers = { Authorization: `Bearer ${token()}` };
  if (body) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(path, {
      method, headers, body: body || undefined, cache: "no-store", signal: AbortSignal.timeout(2 * PATIENCE),
    });
    if (answer.ok) return answer;
    if (answer.status === 401) {
      forget();
      $("token-field").focus();
      say("The token is wrong. Type it again.");
    } else {
      say((await answer.text()).trim() || `Rejected with status ${answer.status}`);
    }
  } catch {
    say("The daemon did not respond.");
  }
  return null;
}

/** Asks the question, if there is one. */
function agreed(question) {
  if (!question) return Promise.resolve(true);
  const dialog = $("ask");
  $("ask-text").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  $("ask-no").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

$("ask-yes").addEventListener("click", () => $("ask").close("yes"));
$("ask-no").addEventListener("click", () => $("ask").close("no"));

async function send(button, path, body, question) {
  if (token() !== null && !(await agreed(question))) return false;
  button.setAttribute("aria-busy", "true");
  const answer = await ask("POST", path, body);
  button.removeAttribute("aria-busy");
  if (!answer) return false;
  say((await answer.text()).trim());
  setTimeout(refresh, 300);
  return true;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button || button.getAttribute("aria-busy") === "true") return;
  if (button.dataset.post) {
    const done = await send(button, button.dataset.post, button.dataset.body, button.dataset.confirm);
    if (done) away(button.closest("tr[data-id]"));
  } else if (button.dataset.list) {
    await list(button.dataset.list);
  }
});

// Moves the focus to the next row, so that keyboard users need not start from the top of the page.
function away(row) {
  if (!row) return;
  const next = row.nextElementSibling ?? row.previousElementSibling;
  (next ?? row.closest("section")).querySelector("button").focus();
  row.remove();
}

document.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (event.target.id !== "resync") return;
  const id = $("resync-id").value.trim();
  await send(event.target.querySelector("button"), `/api/resync/${encodeURIComponent(id)}`, "", "");
});

// ---- Ids, which need the token.

const LISTS = {
  parked: {
    heads: ["id", "reason", "attempts", "next attempt", ""],
    cells: (row) => [row.cv_id, row.error_class, row.attempts, time(row.next_attempt_at)],
    buttons: [["Retry", "/api/parked/retry", ""]],
  },
  deletes: {
    heads: ["id", "held since", ""],
    cells: (row) => [row.cv_id, time(row.held_at)],
    buttons: [
      ["Approve", "/api/deletes/approve", "Delete this CV? cvsync asks VDAB once more and permanently deletes the CV if it is gone."],
      ["Discard", "/api/deletes/discard", ""],
    ],
  },
};

function time(text) {
  return new Date(text).toLocaleString("sv-SE", { timeZone: document.documentElement.dataset.zone });
}

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

async function list(name) {
  const answer = await ask("GET", `/api/${name}`);
  if (!answer) return;
  const rows = (await answer.json()).filter((row) => !row.approved_at);
  const { heads, cells, buttons } = LISTS[name];
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const text of heads) {
    const cell = element(text ? "th" : "td", text);
    if (text) cell.scope = "col";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    line.dataset.id = row.cv_id;
    cells(row).forEach((text, at) => {
      const cell = element(at === 0 ? "th" : "td");
      if (at === 0) cell.scope = "row";
      cell.append(at === 0 ? element("code", text) : text);
      line.append(cell);
    });
    const last = line.insertCell();
    for (const [label, path, question] of buttons) {
      const button = element("button", label);
      button.type = "button";
      button.setAttribute("aria-label", `${label} ${row.cv_id}`);
      Object.assign(button.dataset, { post: path, body: JSON.stringify({ ids: [row.cv_id] }), confirm: question });
      last.append(button);
    }
  }
  const region = element("div");
  region.className = "scroll";
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", `Ids: ${name}`);
  region.append(table);
  const shown = rows.length ? `${rows.length} shown, oldest first.` : "None.";
  $(`${name}-list`).replaceChildren(element("p", shown), region);
}
