/* The list of orders, alive: what all four pages share. Without a script each is a classic page: forms, redirects,
 * reload.
 *
 * An event says what became of one order; the row is drawn from it with the rules of row.py, so that a push leaves
 * what a reload would show. Every row knows its version: whatever is not newer is ignored, because the answers of the
 * site and the events of several workers may overtake each other, and a stock client may be given an event twice.
 *
 * How events come is the business of one script for each page: native.js, socketio.js, sockjs.js, sse.js. They call
 *
 *   ws_order_lock(data), ws_order_done(data), ws_order_free(data)     what became of an order
 *   ws_present(message)                                               who looks at the list: a message of presence
 *   ws_orders_load()                                                  take over the list as the site has it now
 *   ws_access(audience)                                               as whom it is told now; null: not any more
 *   ws_status(light, text)                                            "live", "wait" or "off", in words
 *   ws_locks_by(call)                                                 `call(order)` locks one, and promises its data
 *   ws_daemon                                                         where to connect to
 *   ws_transports                                                     and by what, if the page's address says so
 */
(function () {
  "use strict";

  const table = document.getElementById("orders");
  if (!table) return;
  const body = document.getElementById("order-rows");
  const moderator = table.dataset.audience === "moderator";
  const mayLock = table.dataset.mayLock === "yes";
  const me = table.dataset.user;
  let denied = false; // whether the permission was taken away while the page was open

  // ------------------------------------------------------------------------------------------------------------- rows

  function rowOf(order) {
    return body.querySelector('[data-order="' + Number(order) + '"]');
  }

  /** The row of an event, if the event is news to it. */
  function rowFor(data) {
    const row = rowOf(data.order);
    if (!row) {
      refresh(); // an order that was added after this page was made
      return null;
    }
    if (data.version <= Number(row.dataset.version)) return null;
    row.dataset.version = data.version;
    return row;
  }

  function form(row, id, action, label) {
    const made = document.getElementById(id).content.firstElementChild.cloneNode(true);
    made.action = "/orders/" + row.dataset.order + "/" + action + "/";
    made.querySelector("button").setAttribute("aria-label", label + " order " + row.dataset.order);
    return made;
  }

  function draw(row, status, mine, hide) {
    row.classList.toggle("order-row_is_locked", status === "locked");
    row.classList.toggle("order-row_is_mine", status === "locked" && mine);
    row.classList.toggle("order-row_is_done", status === "done" && !hide);
    row.classList.toggle("hidden", status === "done" && hide);
    const words = { open: "Open", locked: mine ? "Locked by you" : "Locked", done: "Done" };
    row.querySelector(".order-row__state").textContent = words[status];

    const cell = row.querySelector(".order-row__actions");
    const focused = cell.contains(document.activeElement);
    cell.replaceChildren();
    if (mayLock && status === "open") cell.append(form(row, "lock-form", "lock", "Lock"));
    if (moderator ? status !== "done" : status === "open" || (status === "locked" && mine)) {
      cell.append(form(row, "done-form", "done", "Finish"));
    }
    // Who was about to press a button that goes stays where he was.
    if (focused) (cell.querySelector("button") || table.querySelector(".order-row:not(.hidden) button") || table).focus();
    flash(row);
    judgeEmptiness();
  }

  function flash(row) {
    row.classList.remove("order-row_has_changed");
    void row.offsetWidth; // so that the animation begins again
    row.classList.add("order-row_has_changed");
  }

  body.addEventListener("animationend", (event) => event.target.classList.remove("order-row_has_changed"));

  function judgeEmptiness() {
    document.getElementById("empty").hidden = denied || Boolean(body.querySelector(".order-row:not(.hidden)"));
  }

  // ----------------------------------------------------------------------------------------------------------- events

  const time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

  function tell(text) {
    document.getElementById("latest").textContent = time.format(new Date()) + " " + text;
  }

  function whoIs(data) {
    return String(data.user) === me ? "you, in another window" : "somebody else";
  }

  window.ws_order_lock = (data) => {
    const row = rowFor(data);
    if (!row) return;
    draw(row, "locked", String(data.user) === me, false);
    tell("Order " + data.order + " was locked by " + whoIs(data) + ".");
  };

  window.ws_order_done = (data) => {
    const row = rowFor(data);
    if (!row) return;
    draw(row, "done", false, data.action === "hide");
    tell("Order " + data.order + " was finished by " + whoIs(data) + ".");
  };

  window.ws_order_free = (data) => {
    const row = rowFor(data);
    if (!row) return;
    draw(row, "open", false, false);
    tell("Order " + data.order + " is free again.");
  };

  // ---------------------------------------------------------------------------------------- the list, as it stands now

  let loading = false;
  let again = false;
  let retryTimer = null;

  /** Fetch the rows and take over what is newer; one at a time, and once more if asked meanwhile. */
  async function refresh() {
    if (loading) {
      again = true;
      return;
    }
    loading = true;
    clearTimeout(retryTimer);
    try {
      const answer = await fetch(table.dataset.rows, { redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect") {
        location.reload(); // logged out meanwhile: to the login page
        return;
      }
      if (!answer.ok) throw new Error("the site answered " + answer.status);
      take(await answer.text());
    } catch (error) {
      retryTimer = setTimeout(refresh, 2000 + Math.random() * 3000);
    } finally {
      loading = false;
    }
    if (again) {
      again = false;
      refresh();
    }
  }

  function take(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = Array.from(template.content.querySelectorAll("[data-order]"));
    const listed = new Set(fresh.map((row) => row.dataset.order));
    for (const row of Array.from(body.querySelectorAll("[data-order]"))) if (!listed.has(row.dataset.order)) row.remove();
    let before = null;
    for (const row of fresh) {
      const old = rowOf(row.dataset.order);
      if (!old) {
        if (before) before.after(row);
        else body.prepend(row);
      } else if (Number(row.dataset.version) > Number(old.dataset.version)) {
        const focused = old.contains(document.activeElement);
        old.replaceWith(row);
        if (focused) (row.querySelector("button") || table).focus();
        flash(row);
      }
      before = rowOf(row.dataset.order);
    }
    judgeEmptiness();
  }

  window.ws_orders_load = () => void refresh();

  // ---------------------------------------------------------------------------------------------- who looks at the list

  const present = document.getElementById("present");
  const names = new Map(); // of users; null while it is asked for
  let here = null; // primary keys; null: nobody knows

  /** {now: [...]}, or {join: [...], leave: [...]}, or {now: null} with the number of a crowd. */
  window.ws_present = (message) => {
    if (Array.isArray(message.now)) here = new Set(message.now);
    else if (message.now === null || !here) here = null;
    else {
      for (const user of message.leave) here.delete(user);
      for (const user of message.join) here.add(user);
    }
    showPresent(message.count);
    if (here) learn(Array.from(here).filter((user) => !names.has(user)).slice(0, 50));
  };

  function showPresent(count) {
    const known = here ? Array.from(here).filter((user) => names.get(user)) : [];
    const others = here ? here.size - known.length : count || 0;
    const shown = known.map((user) => names.get(user) + (String(user) === me ? " (you)" : "")).sort();
    if (others) shown.push(shown.length ? others + " more" : others + " people");
    present.hidden = !shown.length;
    document.getElementById("present-names").textContent = shown.join(", ");
  }

  async function learn(users) {
    if (!users.length) return;
    for (const user of users) names.set(user, null);
    try {
      const query = users.map((user) => "user=" + encodeURIComponent(user)).join("&");
      const answer = await fetch(present.dataset.people + "?" + query, { redirect: "manual" });
      if (!answer.ok) throw new Error("the site answered " + answer.status);
      const found = await answer.json();
      for (const user of users) if (found[user]) names.set(user, found[user]);
    } catch (error) {
      for (const user of users) names.delete(user); // asked for again with the next change
    }
    showPresent();
  }

  // ------------------------------------------------------------------------------------------------------- connection

  // LIVEPUSH_URL names the WebSocket of livepush.js; the other endpoints are beside it.
  window.ws_daemon = table.dataset.pushUrl
    ? new URL(table.dataset.pushUrl.replace(/^ws/, "http")).origin
    : location.protocol + "//" + location.hostname + ":" + table.dataset.push;
  const asked = new URLSearchParams(location.search).get("transports");
  window.ws_transports = asked ? asked.split(",") : undefined; // of the client library; undefined: all that it has

  const lamp = document.getElementById("connection");
  const words = document.getElementById("connection-text");
  let slowTimer = null;
  let status = []; // light and text, as they are where he is not denied

  function show(light, text) {
    status = [light, text];
    if (denied && light === "live") [light, text] = ["off", "Not live: you may not see the orders any more"];
    lamp.hidden = false;
    lamp.dataset.status = light;
    if (words.textContent !== text) words.textContent = text;
  }

  window.ws_status = (light, text) => {
    clearTimeout(slowTimer);
    // A quick reconnect is nobody's business.
    if (light === "wait") slowTimer = setTimeout(() => show(light, text), 400);
    else show(light, text);
  };

  window.ws_access = (audience) => {
    if (audience && audience !== table.dataset.audience) {
      location.reload(); // to the page of that audience
      return;
    }
    if (denied === (audience === null)) return;
    denied = !denied;
    if (denied) ws_present({ now: null });
    if (status.length) show(...status);
    refresh(); // the site judges for itself what he may see
  };

  // ------------------------------------------------------------------------------------------------------------ forms

  /** Lock over the page's connection while there is one: the form is for when there is none, and for other pages. */
  window.ws_locks_by = (call) => {
    body.addEventListener("submit", (event) => {
      const button = event.target.querySelector(".button_lock");
      if (!button || lamp.dataset.status !== "live") return;
      event.preventDefault();
      button.disabled = true;
      call(Number(event.target.closest("[data-order]").dataset.order)).then(
        (data) => {
          const row = rowFor(data);
          if (row) draw(row, "locked", true, false);
        },
        (error) => {
          button.disabled = false;
          tell(error.message);
          refresh(); // it may have been locked all the same: the answer was lost, or somebody was faster
        }
      );
    });
  };

  // The second half of a double click would be refused as "already locked".
  let sent = false;
  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented) return;
    if (sent) event.preventDefault();
    sent = true;
    setTimeout(() => (sent = false), 1500);
  });
})();
