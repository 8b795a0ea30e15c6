/* livepush.js: the page's side of livepush.
 *
 * A classic script without dependencies: `globalThis.livepush`. It does four things.
 *
 * 1. It keeps one WebSocket to the daemon (subprotocol livepush.v1) and hands events to the page's callbacks.
 *    It comes back by itself after every loss but a close code 44xx, which says that coming back would not help.
 * 2. It keeps, for each channel, the position that the server gave last, and goes on from there on the next connection,
 *    to whichever process. What the server cannot replay is told (`onResync`): the page loads its state again, spread
 *    over time, so that ten thousand pages that lost the same server do not all ask the site in the same second.
 * 3. It marks requests to the page's own origin with the id of this tab (header X-Livepush-Tab, form field
 *    livepush_tab), so that the one who acts gets the answer to his request and not the push as well.
 * 4. It asks the site's code over the same connection (`call`): each call is answered once, or fails with a reason; none
 *    is ever sent twice.
 *
 * This file is past 400 lines because pages load one file and there is no build step that could join several.
 *
 * Every table here has a bound: CHANNELS names, SEEN publishers, VERSIONS keys. Requests to the server are not queued:
 * the wanted state of each channel is compared with the granted one, and what differs is asked for, SENDS a second.
 */
(function (root) {
  "use strict";

  // A page that gets this file twice (by a script tag and through livepush.mjs) keeps the first one's connection. An
  // element with id="livepush" is a property of the window too, and is not it.
  if (root.livepush && typeof root.livepush.onResync === "function") return;

  const document = root.document;
  const navigator = root.navigator;
  const location = root.location;

  const SUBPROTOCOL = "livepush.v1";
  const CONFIG_ID = "livepush-config";
  const DEFAULTS = { url: null, port: 8989, path: "/livepush/ws", retry: [500, 20000], heartbeat: 25, ticket: null };
  const CHANNELS = 1000; // different channels a page may name; the server allows far fewer
  const SEEN = 4096; // (channel, publisher) pairs remembered; the least recently heard is forgotten first
  const VERSIONS = 4096; // (channel, key) pairs whose newest version is remembered, likewise
  const GREETED = 150; // channels that a hello names, which may have 64 KiB; the others are subscribed after it
  const RENEWALS = 3; // attempts after a 4001 for which 4401 is not the end
  const POSITION = 200; // characters of a position; ours have about 40
  const BURST = 30; // requests at once; the server takes 40
  const SENDS = 15; // and a second; the server takes 20
  const DEADLINE = 20000; // ms from the start of an attempt to `welcome`
  const STABLE = 5000; // ms a connection has to live before the next loss counts as the first
  const GAP = 1000; // ms between two attempts that an event of the browser caused
  const LATE = 2000; // a timer so many ms late: the page was frozen, messages may wait behind it
  const ALONE = 4; // failed attempts after which a loss is no longer thought to be this browser's own
  const GRACE = 3000; // and so long they get to be read
  const NAME = /^[A-Za-z0-9_~-]+(?:\.[A-Za-z0-9_~-]+)*$/;

  // ---------------------------------------------------------------------------------------------- the page's callbacks

  function fail(what, error) {
    root.console.error("livepush: " + what + " threw", error);
    if (typeof root.reportError === "function") root.reportError(error);
  }

  function call(what, callback, args) {
    try {
      callback.apply(undefined, args);
    } catch (error) {
      fail(what, error);
    }
  }

  /** Callbacks of one kind: `add` returns what removes it again, `tell` calls all that are there at this moment. */
  function Callbacks(what) {
    const entries = new Set();
    return {
      add(callback, filter) {
        mustCall(what, callback);
        const entry = { callback, filter };
        entries.add(entry);
        return () => void entries.delete(entry);
      },
      tell(args, key) {
        let told = 0;
        for (const entry of Array.from(entries)) {
          if (entry.filter !== undefined && entry.filter !== key) continue;
          if (!entries.has(entry)) continue; // removed by the one before it
          told += 1;
          call("a callback of " + what, entry.callback, args);
        }
        return told;
      },
    };
  }

  function mustCall(what, callback) {
    if (typeof callback !== "function") throw new TypeError("livepush." + what + ": the callback must be a function");
  }

  function mustName(what, name) {
    if (typeof name === "string" && name.length <= 180 && NAME.test(name)) return;
    throw new TypeError("livepush: " + what + " " + String(name) + " must be words of A-Z a-z 0-9 _ - joined by dots");
  }

  const statusCallbacks = Callbacks("onStatus");
  const resyncCallbacks = Callbacks("onResync");
  const accessCallbacks = Callbacks("onAccess");
  const presenceCallbacks = Callbacks("onPresence");
  const errorCallbacks = Callbacks("onError");

  function complain(code, message, channel, retry) {
    const told = errorCallbacks.tell([{ code, message, channel: channel || null, retry: Boolean(retry) }]);
    if (!told) root.console.warn("livepush: " + code + (channel ? " (" + channel + ")" : "") + ": " + message);
  }

  // ---------------------------------------------------------------------------------------------------------- the tab

  // The id has to survive a form post with its redirect, and must not be shared with a duplicate of the tab, which gets
  // a copy of sessionStorage. So it stands there only between the end of one page and the start of the next.
  const TAB_KEY = root === root.top ? "livepush.tab" : "livepush.tab.frame";
  const TAB_AGE = 60000;

  function randomId() {
    const bytes = new Uint8Array(12);
    if (root.crypto && root.crypto.getRandomValues) root.crypto.getRandomValues(bytes);
    else for (let i = 0; i < bytes.length; i += 1) bytes[i] = Math.floor(Math.random() * 256);
    let text = "";
    for (const byte of bytes) text += (byte + 256).toString(16).slice(1);
    return text;
  }

  function takeTab() {
    let kept = null;
    try {
      kept = root.sessionStorage.getItem(TAB_KEY);
      root.sessionStorage.removeItem(TAB_KEY);
    } catch (error) {
      return null; // storage is switched off for this site: an id per page then
    }
    const found = /^([0-9a-f]{24}) ([0-9]+)$/.exec(kept || "");
    return found && Math.abs(Date.now() - Number(found[2])) < TAB_AGE ? found[1] : null;
  }

  function leaveTab() {
    try {
      root.sessionStorage.setItem(TAB_KEY, tab + " " + Date.now());
    } catch (error) {
      // Off or full: the next page has another id, so it may get a push of what this one did.
    }
  }

  const tab = takeTab() || randomId();

  // ------------------------------------------------------------------------------------------------- marking requests

  // Only to the page's own origin, and not GET and HEAD: those change nothing, and a header of our own would turn the
  // redirect of a download to another host into a preflight that the host refuses.
  function isMarked(method, url) {
    if (!location.origin || location.origin === "null") return false;
    if (/^(?:GET|HEAD|OPTIONS|TRACE|CONNECT)$/i.test(method)) return false;
    return new URL(url, document.baseURI).origin === location.origin;
  }

  function isRequest(value) {
    return Object.prototype.toString.call(value) === "[object Request]";
  }

  function isPlain(value) {
    const parent = Object.getPrototypeOf(value);
    return parent === null || Object.getPrototypeOf(parent) === null;
  }

  function markedInit(input, init) {
    const options = init === undefined || init === null ? {} : init;
    if (typeof options !== "object" || !isPlain(options)) return init; // unmarked is better than changed
    const request = isRequest(input) ? input : null;
    const method = options.method || (request ? request.method : "GET");
    if (!isMarked(String(method), request ? request.url : String(input))) return init;
    const headers = new root.Headers(options.headers || (request ? request.headers : undefined));
    if (headers.has("X-Livepush-Tab")) return init;
    headers.set("X-Livepush-Tab", tab);
    return Object.assign({}, options, { headers });
  }

  function markFetch() {
    const native = root.fetch;
    if (typeof native !== "function") return;
    root.fetch = function fetch(input, init) {
      let marked = init;
      try {
        marked = markedInit(input, init);
      } catch (error) {
        // A bad URL or header: fetch itself says so, in its own words.
      }
      return native.call(root, input, marked);
    };
  }

  function markXHR() {
    if (typeof root.XMLHttpRequest !== "function") return;
    const prototype = root.XMLHttpRequest.prototype;
    const open = prototype.open;
    const send = prototype.send;
    const setRequestHeader = prototype.setRequestHeader;
    const wanted = new WeakSet();
    prototype.open = function (method, url) {
      wanted.delete(this);
      const result = open.apply(this, arguments);
      try {
        if (isMarked(String(method), String(url))) wanted.add(this);
      } catch (error) {
        // As above.
      }
      return result;
    };
    prototype.setRequestHeader = function (name) {
      if (String(name).toLowerCase() === "x-livepush-tab") wanted.delete(this);
      return setRequestHeader.apply(this, arguments);
    };
    prototype.send = function () {
      if (wanted.has(this)) {
        wanted.delete(this);
        try {
          setRequestHeader.call(this, "X-Livepush-Tab", tab);
        } catch (error) {
          // Sent twice, not opened: send() says so.
        }
      }
      return send.apply(this, arguments);
    };
  }

  // `formdata` is fired where the browser collects a form's fields: after `submit`, inside form.submit(), and also for
  // a script's `new FormData(form)`, which may go anywhere and is left alone.
  function markForms() {
    const prototype = root.HTMLFormElement && root.HTMLFormElement.prototype;
    if (!prototype) return;
    const attribute = (element, name) => root.Element.prototype.getAttribute.call(element, name);
    let submission = null; // the latest submit event
    let direct = null; // the form whose submit() runs

    root.addEventListener("submit", (event) => void (submission = event), true);

    const submit = prototype.submit;
    prototype.submit = function () {
      direct = this;
      try {
        return submit.apply(this, arguments);
      } finally {
        direct = null;
      }
    };

    root.addEventListener(
      "formdata",
      (event) => {
        const form = event.target;
        let submitter = null;
        if (form === direct) {
          direct = null;
        } else {
          // Its dispatch is over and nobody has prevented it: this is the browser, not a handler's own FormData.
          const sent = submission && submission.target === form && submission.eventPhase === 0;
          if (!sent || submission.defaultPrevented) return;
          submitter = submission.submitter || null;
          submission = null;
        }
        const own = (name) => (submitter ? attribute(submitter, "form" + name) : null);
        const method = own("method") || attribute(form, "method") || "get";
        const action = own("action") || attribute(form, "action") || location.href;
        try {
          if (/^post$/i.test(method) && isMarked(method, action)) event.formData.set("livepush_tab", tab);
        } catch (error) {
          // An action that is no URL: the browser goes nowhere either.
        }
      },
      true
    );
  }

  // ----------------------------------------------------------------------------------------------------- configuration

  let settings = Object.assign({}, DEFAULTS);

  function isPair(retry) {
    return Array.isArray(retry) && retry.length === 2 && retry[0] >= 1 && retry[1] >= retry[0] && retry[1] < 1e9;
  }

  function configure(options) {
    const merged = Object.assign({}, settings);
    for (const name of Object.keys(DEFAULTS)) {
      if (options && options[name] !== undefined && options[name] !== null) merged[name] = options[name];
    }
    if (!isPair(merged.retry)) {
      throw new TypeError("livepush: retry must be [least, most], milliseconds, such as [500, 20000]");
    }
    if (merged.ticket !== null && typeof merged.ticket !== "function") {
      throw new TypeError("livepush: ticket must be a function that returns a ticket, or a promise of one");
    }
    if (!(Number(merged.heartbeat) > 0)) throw new TypeError("livepush: heartbeat must be seconds, such as 25");
    address(merged);
    settings = merged;
  }

  /** Where the daemon is. Without `url`: the page's host and the port of the settings. */
  function address(from) {
    const secure = location.protocol === "https:";
    const base = (secure ? "wss://" : "ws://") + location.hostname + ":" + from.port + from.path;
    let url;
    try {
      url = !from.url ? new URL(base) : new URL(from.url, location.href);
    } catch (error) {
      throw new TypeError("livepush: " + (from.url || base) + " is no URL, such as wss://host/path");
    }
    if (url.protocol === "http:" || url.protocol === "https:") {
      url = new URL(url.href.replace(/^http/, "ws"));
    }
    if (url.protocol !== "ws:" && url.protocol !== "wss:") {
      throw new TypeError("livepush: " + url.href + " must begin with ws:// or wss://");
    }
    url.hash = "";
    return url;
  }

  function onPage() {
    const element = document.getElementById(CONFIG_ID);
    return element ? JSON.parse(element.textContent) : null;
  }

  // ---------------------------------------------------------------------------------------------------------- channels

  // name -> {name, handlers, watchers: how many onPresence, present: who is here, null while not known, audience: null while not granted, told: the audience that onAccess knows, declared: the
  // server gives it unasked, asked: a request is under way, refused: asking again would change nothing, at: the
  // position reached, null before the first}
  const channels = new Map();
  const asked = new Map(); // request number -> {channel, op}
  const calls = new Map(); // request number -> {resolve, reject}
  const unsettled = new Set(); // channels to look at when there is a send to spare
  let requests = 0;
  let tokens = BURST;
  let filled = 0;
  let pumpTimer = null;

  function record(name) {
    let found = channels.get(name);
    if (!found) {
      if (channels.size >= CHANNELS) throw new RangeError("livepush: more than " + CHANNELS + " channels on one page");
      found = { name, handlers: new Set(), audience: null, told: null, declared: false, asked: false, refused: false };
      found.at = found.present = null;
      found.begun = false; // it was granted once
      found.watchers = 0;
      found.crowd = false; // so many are here that only their number is told
      channels.set(name, found);
    }
    return found;
  }

  function settle(channel) {
    unsettled.add(channel);
    pump();
  }

  function pump() {
    root.clearTimeout(pumpTimer);
    pumpTimer = null;
    if (state !== "online") return; // the next welcome looks at all of them
    refill();
    for (const channel of Array.from(unsettled)) {
      const op = difference(channel);
      if (op !== null && tokens < 1) {
        pumpTimer = root.setTimeout(pump, 1000 / SENDS);
        return;
      }
      unsettled.delete(channel);
      if (op === null) {
        forget(channel);
      } else {
        tokens -= 1;
        requests += 1;
        channel.asked = true;
        asked.set(requests, { channel, op });
        const message = { op, n: requests, channel: channel.name };
        if (op === "subscribe" && channel.at !== null) message.since = channel.at;
        send(message);
      }
    }
  }

  function refill() {
    const now = Date.now();
    tokens = Math.min(BURST, tokens + (Math.max(0, now - filled) * SENDS) / 1000);
    filled = now;
  }

  function difference(channel) {
    if (channel.asked) return null;
    const wanted = isWanted(channel);
    if (wanted && channel.audience === null && !channel.refused) return "subscribe";
    if (!wanted && channel.audience !== null && !channel.declared) return "unsubscribe";
    return null;
  }

  function isWanted(channel) {
    return channel.handlers.size > 0 || channel.watchers > 0;
  }

  function forget(channel) {
    if (isWanted(channel) || channel.audience !== null || channel.declared || channel.asked) return;
    if (channels.get(channel.name) !== channel) return;
    channels.delete(channel.name);
    cancel(channel.name);
  }

  /** All that the server has for this channel up to this position has been handed on, or told as missing. */
  function reach(channel, message) {
    if (typeof message.at === "string" && message.at.length <= POSITION) channel.at = message.at;
  }

  function grant(channel, audience, delay) {
    channel.refused = false;
    channel.begun = true;
    channel.audience = audience;
    const due = reloads.get(channel.name);
    if (due && due.timer === null) wait(channel.name, delay);
    if (channel.told === audience) return;
    channel.told = audience;
    accessCallbacks.tell([channel.name, audience, null]);
  }

  /** Taken away, or refused. The position stays, and so does a reload that it stands behind. */
  function withdraw(channel, why) {
    channel.audience = null;
    unknown(channel, "gone");
    channel.refused = true; // until `back`, the next connection, or the next on()
    if (channel.told === null) return;
    channel.told = null;
    accessCallbacks.tell([channel.name, null, why]);
  }

  function answered(message) {
    const request = asked.get(message.n);
    if (!request) return null;
    asked.delete(message.n);
    request.channel.asked = false;
    return request;
  }

  function ok(message) {
    const called = takeCall(message.n);
    if (called) called.resolve(message.data);
    const request = answered(message);
    if (!request) return;
    if (request.op === "subscribe") {
      reach(request.channel, message);
      grant(request.channel, typeof message.audience === "string" ? message.audience : "", spread());
      if (message.resync) resync(request.channel.name, message.resync, spread());
    } else {
      request.channel.audience = request.channel.told = request.channel.present = null;
    }
    settle(request.channel);
  }

  function refused(message) {
    const called = takeCall(message.n);
    if (called) {
      called.reject(callError(String(message.code), String(message.message), message.retry));
      return;
    }
    const request = answered(message);
    const channel = request ? request.channel : null;
    if (channel) {
      if (request.op === "unsubscribe") channel.audience = channel.told = null;
      else withdraw(channel, String(message.code));
      if (message.retry && channel.refused) {
        const delay = settings.retry[0] + Math.random() * (settings.retry[1] - settings.retry[0]);
        root.setTimeout(() => {
          channel.refused = false;
          settle(channel);
        }, delay);
      }
      settle(channel);
    }
    complain(String(message.code), String(message.message), channel ? channel.name : message.channel, message.retry);
  }

  function gone(message) {
    const channel = channels.get(message.channel);
    if (!channel || channel.audience === null) return;
    withdraw(channel, String(message.why || ""));
  }

  function back(message) {
    if (typeof message.channel !== "string" || typeof message.audience !== "string") return;
    const channel = record(message.channel);
    reach(channel, message);
    grant(channel, message.audience, 0);
    // What lay between is not replayed. Each process looks its users up a few at a time, so these come spread already.
    resync(channel.name, "back", 0);
    settle(channel);
  }

  // ---------------------------------------------------------------------------------------------------------- presence

  /** Who else is on a channel: the whole list first, then who joined and who left. A new process begins anew. */
  function presence(message) {
    const channel = channels.get(message.channel);
    if (!channel || channel.audience === null) return;
    const before = channel.present;
    if (Array.isArray(message.now)) channel.present = new Set(message.now);
    else if (message.now === null) return void unknown(channel, String(message.why || ""), message.count);
    else if (!before || !Array.isArray(message.join) || !Array.isArray(message.leave)) return;
    else {
      channel.present = new Set(before);
      for (const user of message.leave) channel.present.delete(user);
      for (const user of message.join) channel.present.add(user);
    }
    channel.crowd = false;
    const now = Array.from(channel.present);
    const join = now.filter((user) => !before || !before.has(user));
    const leave = before ? Array.from(before).filter((user) => !channel.present.has(user)) : [];
    if (before && !join.length && !leave.length) return;
    presenceCallbacks.tell([now, { channel: channel.name, join, leave, why: null, count: now.length }], channel.name);
  }

  /** Who is here can't be said, or, with `count`, only how many. */
  function unknown(channel, why, count) {
    const crowd = typeof count === "number";
    const said = channel.present === null && !channel.crowd && !crowd;
    channel.present = null;
    channel.crowd = crowd;
    if (said) return;
    const change = { channel: channel.name, join: [], leave: [], why, count: crowd ? count : null };
    presenceCallbacks.tell([null, change], channel.name);
  }

  // ------------------------------------------------------------------------------------------------------------- calls

  // A call is sent at once or not at all: one that waits for a connection would be done when nobody expects it any more.
  function request(name, type, data) {
    mustName("channel", name);
    mustName("call type", type);
    const given = data === undefined ? {} : data;
    if (given === null || typeof given !== "object" || Array.isArray(given)) {
      throw new TypeError("livepush.call: data must be an object, such as {order: 5}");
    }
    const message = { op: "call", n: requests + 1, channel: name, type, data: given };
    JSON.stringify(message); // what can't be written is the caller's, before anything has happened
    if (state !== "online") throw callError("offline", "there is no connection", true);
    refill();
    if (tokens < 1) throw callError("busy", "too many requests at once", true);
    tokens -= 1;
    requests += 1;
    return message;
  }

  function takeCall(n) {
    const called = calls.get(n);
    calls.delete(n);
    return called;
  }

  function callError(code, message, retry) {
    return Object.assign(new Error(message), { name: "CallError", code, retry: Boolean(retry) });
  }

  // ------------------------------------------------------------------------------------------------------------ events

  // What a position does not settle is settled here: a publisher's events come in its order on each channel, whichever
  // process and socket they come from, so one whose number is not above the highest has been handed on, or told as
  // missing.
  const seen = new Map(); // channel and publisher -> highest number handed on
  const versions = new Map(); // channel and key -> the newest version

  function isNew(channel, id) {
    const dash = id.lastIndexOf("-");
    const number = Number(id.slice(dash + 1));
    if (dash < 1 || !(number >= 1)) return true; // not ours to judge
    const key = channel + " " + id.slice(0, dash);
    const highest = seen.get(key);
    if (highest !== undefined && number <= highest) return false;
    remember(seen, key, number, SEEN);
    return true;
  }

  /** The events of two workers may come in either order; what is older than something shown already says nothing. */
  function isOutdated(message) {
    if (typeof message.key !== "string" || typeof message.version !== "number") return false;
    const key = message.channel + " " + message.key;
    const newest = versions.get(key);
    if (newest !== undefined && message.version < newest) return true;
    remember(versions, key, message.version, VERSIONS);
    return false;
  }

  function remember(map, key, value, bound) {
    map.delete(key); // so that the map stands in order of last use
    map.set(key, value);
    if (map.size > bound) map.delete(map.keys().next().value);
  }

  function dispatch(message) {
    const channel = channels.get(message.channel);
    if (!channel) return;
    reach(channel, message);
    if ((typeof message.id === "string" && !isNew(message.channel, message.id)) || isOutdated(message)) return;
    const event = {
      channel: message.channel,
      type: message.type,
      id: typeof message.id === "string" ? message.id : null,
      ts: typeof message.ts === "number" ? message.ts : null,
      key: typeof message.key === "string" ? message.key : null,
      version: typeof message.version === "number" ? message.version : null,
    };
    for (const handler of Array.from(channel.handlers)) {
      if (handler.type !== "*" && handler.type !== message.type) continue;
      if (!channel.handlers.has(handler)) continue;
      call("a callback for " + event.channel + " " + event.type, handler.callback, [message.data, event]);
    }
  }

  // ----------------------------------------------------------------------------------------------------------- reloads

  // channel -> {why, timer: null while there is no connection that grants it}. The position stands behind what was
  // missed already, so a reload is only forgotten with its channel.
  const reloads = new Map();
  let warned = false;

  /** One reload of a channel, in `delay` ms at most; one that is on its way already stands for it. */
  function resync(name, why, delay) {
    const due = reloads.get(name);
    if (!due) reloads.set(name, { why, timer: null });
    else if (due.timer !== null && delay > 0) return;
    else if (delay <= 0) due.why = why;
    const channel = channels.get(name);
    if (state === "online" && channel && channel.audience !== null) wait(name, delay);
  }

  /** Lets a reload come in `delay` ms; null: not before the channel is granted. */
  function wait(name, delay) {
    const due = reloads.get(name);
    root.clearTimeout(due.timer);
    due.timer = null;
    if (delay !== null && delay <= 0) reload(name);
    else if (delay !== null) due.timer = root.setTimeout(() => reload(name), delay);
  }

  function cancel(name) {
    const due = reloads.get(name);
    if (due) root.clearTimeout(due.timer);
    reloads.delete(name);
  }

  function reload(name) {
    const due = reloads.get(name);
    const channel = channels.get(name);
    due.timer = null;
    if (state !== "online" || !channel || channel.audience === null) return; // once it is granted
    reloads.delete(name);
    if (resyncCallbacks.tell([name, due.why], name) || warned || !channel.handlers.size) return;
    warned = true;
    root.console.warn("livepush: events of " + name + " may be missing, and this page has no onResync callback");
  }

  function reloadNow() {
    for (const [name, due] of Array.from(reloads)) {
      if (due.timer !== null) wait(name, 0);
    }
  }

  /** A delay for a reload that every page of a server may be told at once. */
  function spread() {
    return Math.random() * settings.retry[1];
  }

  /**
   * A delay for the reloads after coming back.
   *
   * What only this browser met (it was offline, slept, was too slow) is over within four times the least retry: nobody
   * else comes at the same time. What the server did, everybody met: then the wait for the connection and the wait for
   * the reload together fill the greatest retry, or a quarter of it where somebody can see the page. So a page that
   * came back at a random moment of a long outage need not wait again. One out of the browser's cache reloads at once.
   */
  function spreadAfter(ended) {
    const [least, greatest] = settings.retry;
    if (ended.cause === "restored") return 0;
    if (ended.cause === "alone") return Math.random() * Math.min(greatest, 4 * least);
    const whole = document.visibilityState === "visible" ? greatest / 4 : greatest;
    return Math.random() * Math.max(least, whole - ended.waited);
  }

  // ---------------------------------------------------------------------------------------------------- the connection

  // idle -> connecting -> online -> waiting -> connecting ...; offline: waiting for the browser's network; closed: the
  // server (44xx) or the page said so; connect() begins again.
  let state = "idle";
  let status = Object.freeze({ state });
  let socket = null;
  let named = null; // the channels of its hello, with their positions; null: it took the declared ones
  let successor = null; // {socket, named, timer}: a connection that is being made before this one is broken
  let timer = null; // the next attempt, or this attempt's deadline
  let watchTimer = null;
  let stableTimer = null;
  let failures = 0;
  let renewing = 0; // attempts that may still be too early: the new cookie of a renewed session is on its way
  let attempted = -GAP;
  let received = 0;
  let offlineSince = null;
  let outage = null; // {cause: "shared" | "alone" | "restored", waited: bound of the last wait}: what reloads follow

  function become(next, details) {
    state = next;
    status = Object.freeze(Object.assign({ state: next }, details));
    statusCallbacks.tell([status]);
    if (state === "online") return;
    for (const channel of Array.from(channels.values())) unknown(channel, "connection");
  }

  function send(message) {
    if (socket && socket.readyState === 1) socket.send(JSON.stringify(message));
  }

  function isLoopback() {
    return /^(?:localhost|.*\.localhost|127\.[0-9.]+|\[::1\])$/.test(address(settings).hostname);
  }

  /** A laptop without any network still reaches a daemon of its own. */
  function isOffline() {
    return navigator.onLine === false && !isLoopback();
  }

  function open() {
    drop();
    if (isOffline()) {
      become("offline");
      return;
    }
    attempted = Date.now();
    try {
      socket = attach();
    } catch (error) {
      // A page of https: and a daemon of ws:, a forbidden port: no attempt will ever succeed.
      finish(0, String(error && error.message));
      return;
    }
    timer = root.setTimeout(() => lost(0, "no welcome in time"), DEADLINE);
    become("connecting");
  }

  /** A socket that says hello. What it hears counts while it is `socket` or the successor's. */
  function attach() {
    const mine = new root.WebSocket(address(settings).href, [SUBPROTOCOL]);
    mine.onopen = () => {
      if (!settings.ticket) {
        greet(mine, null);
        return;
      }
      // One for each connection: it is good once. Without one there is nothing to say, and the next attempt asks again.
      Promise.resolve()
        .then(settings.ticket)
        .then((ticket) => greet(mine, String(ticket)))
        .catch((error) => {
          complain("ticket", "there is no ticket: " + String(error && error.message));
          mine.close();
        });
    };
    mine.onmessage = (event) => {
      if (socket === mine) receive(event.data);
      else if (successor && successor.socket === mine) receiveEarly(event.data);
    };
    mine.onclose = (event) => {
      if (socket === mine && successor && !isFinal(event.code)) promote();
      else if (socket === mine) lost(event.code, event.reason);
      else if (successor && successor.socket === mine) giveUp();
    };
    return mine;
  }

  function greet(mine, ticket) {
    if (mine.readyState !== 1) return;
    if (socket === mine) mine.send(JSON.stringify(hello((named = wanted()), ticket)));
    else if (successor && successor.socket === mine) mine.send(JSON.stringify(hello((successor.named = wanted()), ticket)));
  }

  /** The channels of a hello with their positions. The first hello names none: it takes the declared ones. */
  function wanted() {
    const all = Array.from(channels.values()).filter((channel) => channel.declared || isWanted(channel));
    if (!all.some((channel) => channel.declared || channel.at !== null)) return null;
    // Nobody asks for the declared ones afterwards, so they go first where not all have room.
    if (all.length > GREETED) all.sort((one, other) => Number(other.declared) - Number(one.declared));
    const positions = Object.create(null);
    for (const channel of all.slice(0, GREETED)) positions[channel.name] = channel.at;
    return positions;
  }

  function hello(positions, ticket) {
    const message = { op: "hello", n: 0, tab };
    if (ticket !== null) message.ticket = ticket;
    if (positions) message.channels = positions;
    return message;
  }

  function read(text) {
    received = Date.now();
    let message = null;
    try {
      message = JSON.parse(text);
    } catch (error) {
      // Below.
    }
    if (message !== null && typeof message === "object" && typeof message.op === "string") return message;
    complain("unreadable", "the server sent what is no message of " + SUBPROTOCOL);
    return { op: "" };
  }

  function receive(text) {
    const message = read(text);
    if (message.op === "event") dispatch(message);
    else if (message.op === "resync") told(message);
    else if (message.op === "welcome") {
      if (state === "connecting") welcome(message);
    } else if (state === "online") {
      if (message.op === "ok") ok(message);
      else if (message.op === "error") refused(message);
      else if (message.op === "gone") gone(message);
      else if (message.op === "back") back(message);
      else if (message.op === "goaway") goaway(message);
      else if (message.op === "presence") presence(message);
      else if (message.op === "heartbeat") heartbeat(message);
      // An op of a later version is none of ours.
    }
  }

  /** On the second of two connections: what it replays counts at once, its welcome ends the first one. */
  function receiveEarly(text) {
    const message = read(text);
    if (message.op === "event") dispatch(message);
    else if (message.op === "resync") told(message);
    else if (message.op === "welcome") succeed(message);
  }

  function welcome(message) {
    root.clearTimeout(timer);
    timer = null;
    if (isPair(message.retry)) settings.retry = message.retry;
    if (message.heartbeat > 0) settings.heartbeat = message.heartbeat;
    const ended = outage;
    outage = null;
    offlineSince = null;
    watch("due");
    renewing = 0;
    stableTimer = root.setTimeout(() => void (failures = 0), STABLE);
    const user = message.user === undefined ? null : message.user;
    if (state !== "online" || status.user !== user) become("online", { user });
    if (state !== "online") return; // a callback closed it

    const granted = message.channels && typeof message.channels === "object" ? message.channels : {};
    const delay = ended ? spreadAfter(ended) : spread();
    for (const name of Object.keys(granted)) {
      if (!channels.has(name) && channels.size >= CHANNELS) break;
      const channel = record(name);
      const since = named && named[name] !== undefined ? named[name] : null;
      // Granted by the connection before, after this hello was said: nobody knows what lay between the two.
      // A position alone says less: an event that comes before the first welcome has one, too.
      const late = since === null && channel.begun && channel.at !== null;
      if (!named) channel.declared = true;
      reach(channel, message);
      const why = granted[name] && granted[name].resync;
      grant(channel, String(granted[name] && granted[name].audience), delay);
      // A channel without a position is as old as the page, which is older than the outage.
      if (why || late || (ended && since === null)) {
        resync(name, String(why || "restart"), why === "slow" ? 0 : delay);
      }
    }
    for (const channel of Array.from(channels.values())) {
      const refused = named && named[channel.name] !== undefined && channel.audience === null;
      if (refused) withdraw(channel, "refused");
      unsettled.add(channel);
    }
    pump();
  }

  function told(message) {
    const channel = channels.get(message.channel);
    if (!channel) return;
    const why = String(message.why || "");
    reach(channel, message);
    resync(channel.name, why, why === "slow" ? 0 : spread());
  }

  /** Only what is granted moves: what happens on a channel that was taken away is not sent. */
  function heartbeat(message) {
    for (const channel of channels.values()) if (channel.audience !== null) reach(channel, message);
  }

  /** The process says that it will go, in its own spread: be somewhere else by then, without a moment of silence. */
  function goaway(message) {
    const after = message.after >= 0 ? Math.min(Number(message.after), 600000) : 0;
    const mine = socket;
    root.setTimeout(() => {
      if (socket !== mine || state !== "online" || successor) return;
      try {
        successor = { socket: attach(), named: null, timer: root.setTimeout(giveUp, DEADLINE) };
      } catch (error) {
        // The loss of this connection tries again.
      }
    }, after);
  }

  /** The second connection takes over, with the channels that its hello named; the others are subscribed again. */
  function succeed(message) {
    const { socket: next, named: positions } = successor;
    root.clearTimeout(successor.timer);
    successor = null;
    release();
    socket = next;
    named = positions;
    welcome(message);
  }

  /** The first connection is lost before the second one is welcomed: that is the next attempt, and it runs already. */
  function promote() {
    const { socket: next, named: positions, timer: deadline } = successor;
    root.clearTimeout(deadline);
    successor = null;
    release();
    socket = next;
    named = positions;
    if (!outage) outage = { cause: "shared", waited: 0 };
    timer = root.setTimeout(() => lost(0, "no welcome in time"), DEADLINE);
    become("connecting");
  }

  /** The second connection came to nothing; the first one is still there, or its loss begins anew. */
  function giveUp() {
    const old = successor;
    successor = null;
    if (!old) return;
    root.clearTimeout(old.timer);
    old.socket.close();
  }

  /** Lets go of the socket, whatever it still does, and of all that belonged to it. */
  function release() {
    const old = socket;
    socket = null;
    for (const each of [timer, watchTimer, stableTimer, pumpTimer]) root.clearTimeout(each);
    timer = watchTimer = stableTimer = pumpTimer = null;
    asked.clear();
    for (const called of calls.values()) {
      called.reject(callError("lost", "the connection was lost before the answer; it may have been done"));
    }
    calls.clear();
    unsettled.clear();
    for (const channel of channels.values()) {
      channel.audience = null;
      channel.asked = channel.refused = false;
    }
    if (old) old.close();
  }

  function drop() {
    giveUp();
    release();
    for (const channel of Array.from(channels.values())) forget(channel);
  }

  function isFinal(code) {
    return code >= 4400 && code < 4500;
  }

  function lost(code, reason, cause) {
    drop();
    if (code === 4001) renewing = RENEWALS;
    else if (code === 4401 && renewing > 0) renewing -= 1;
    else if (isFinal(code)) {
      finish(code, reason);
      return;
    }
    // 4001 session renewed, 4002 too slow, 4004 silent: between the server and this page only.
    const begun = cause || (code === 4001 || code === 4002 || code === 4004 ? "alone" : "shared");
    if (!outage) outage = { cause: begun, waited: 0 };
    else if (failures >= ALONE) outage.cause = "shared"; // so many attempts in vain: it is the server
    if (isOffline()) {
      outage.cause = "alone";
      become("offline");
      return;
    }
    const bound = Math.min(settings.retry[1], settings.retry[0] * Math.pow(2, Math.min(failures, 30)));
    const delay = Math.round(Math.random() * bound);
    failures += 1;
    outage.waited = bound;
    timer = root.setTimeout(open, delay);
    become("waiting", { delay, attempt: failures, code, reason: String(reason || "") });
  }

  function finish(code, reason) {
    drop();
    for (const name of reloads.keys()) wait(name, null);
    outage = { cause: "restored", waited: 0 }; // whoever connects again wants to know at once
    become("closed", { code, reason: String(reason || ""), final: true });
  }

  /**
   * Something comes at least each heartbeat; nothing for two of them, and the connection is dead whatever TCP thinks.
   *
   * A timer that is late says that the page slept. What arrived meanwhile is read after it, so it judges later.
   */
  function watch(moment) {
    root.clearTimeout(watchTimer);
    const now = Date.now();
    received = Math.min(received, now); // the clock was put back
    const left = received + 2000 * settings.heartbeat - now;
    if (left > 0) {
      const due = now + left;
      watchTimer = root.setTimeout(() => watch(Date.now() - due > LATE ? "late" : "due"), left);
    } else if (moment === "due") {
      lost(0, "silent too long", "shared");
    } else if (moment === "graced") {
      lost(0, "silent too long", "alone");
    } else {
      watchTimer = root.setTimeout(() => watch("graced"), GRACE);
    }
  }

  /** The browser says that now is a good moment. */
  function wake() {
    if (state === "waiting" || state === "offline") {
      root.clearTimeout(timer);
      const early = attempted + GAP - Date.now();
      if (early > 0 && early <= GAP) timer = root.setTimeout(open, early);
      else open();
    } else if (state === "online") {
      watch("woken");
    }
  }

  function listen() {
    root.addEventListener("offline", () => {
      if (!isOffline()) return;
      offlineSince = Date.now();
      if (outage) outage.cause = "alone";
      if (state === "waiting") {
        root.clearTimeout(timer);
        become("offline");
      }
    });
    root.addEventListener("online", () => {
      // Nothing came since the network went: this socket most probably belongs to an address we no longer have.
      if (state === "online" && offlineSince !== null && received <= offlineSince) {
        outage = { cause: "alone", waited: 0 };
        open();
      } else {
        wake();
      }
      offlineSince = null;
    });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState !== "visible") return;
      wake();
      reloadNow(); // somebody looks at it now
    });
    root.addEventListener("pagehide", (event) => {
      leaveTab();
      if (!event.persisted || state === "idle" || state === "closed") return;
      drop(); // a page with an open socket would not be kept
      outage = { cause: "restored", waited: 0 };
      become("offline");
    });
    root.addEventListener("pageshow", (event) => {
      if (!event.persisted) return;
      takeTab();
      if (state === "offline") open();
    });
  }

  // --------------------------------------------------------------------------------------------------------------- API

  const api = {
    /** The random id of this tab. */
    get tab() {
      return tab;
    },

    /** What onStatus was told last. */
    get status() {
      return status;
    },

    /** The granted channels, each with the audience that this user listens as. */
    get channels() {
      const granted = Object.create(null);
      for (const channel of channels.values()) if (channel.audience !== null) granted[channel.name] = channel.audience;
      return granted;
    },

    /** Connects; a page with the configuration of {% livepush %} need not call it. New options begin anew. */
    connect(options) {
      const running = state !== "idle" && state !== "closed";
      if (running && !options) return;
      configure(options);
      if (running) outage = { cause: "restored", waited: 0 };
      failures = 0;
      open();
    },

    /** Ends the connection for good, or until connect(). */
    close() {
      if (state !== "idle" && state !== "closed") finish(1000, "closed by the page");
    },

    /** Calls callback(data, event) for each event of this channel and type ("*": every type). */
    on(name, type, callback) {
      mustName("channel", name);
      if (type !== "*") mustName("event type", type);
      mustCall("on", callback);
      const channel = record(name);
      const handler = { type, callback };
      channel.handlers.add(handler);
      channel.refused = false;
      settle(channel);
      return () => {
        channel.handlers.delete(handler);
        settle(channel);
        if (state !== "online") forget(channel);
      };
    },

    /** Calls callback(status) at every change: {state: "connecting" | "online" | "waiting" | "offline" | "closed"}. */
    onStatus(callback) {
      return statusCallbacks.add(callback);
    },

    /** Asks the site's code (`Channel.receive`): a promise of its answer; it fails with an Error that has a `code`. */
    call(name, type, data) {
      return new Promise((resolve, reject) => {
        const message = request(name, type, data);
        calls.set(message.n, { resolve, reject });
        send(message);
      });
    },

    /** onResync(callback) or onResync(channel, callback): callback(channel, why) has to load the state again. */
    onResync(name, callback) {
      if (typeof name === "function") return resyncCallbacks.add(name);
      mustName("channel", name);
      return resyncCallbacks.add(callback, name);
    },

    /** Calls callback(users, {join, leave, why, count}) when who is on a channel changes; null: it is not known. */
    onPresence(name, callback) {
      mustName("channel", name);
      mustCall("onPresence", callback);
      const channel = record(name);
      let remove = presenceCallbacks.add(callback, name);
      channel.watchers += 1;
      channel.refused = false;
      settle(channel);
      return () => {
        if (!remove) return;
        remove();
        remove = null;
        channel.watchers -= 1;
        settle(channel);
        if (state !== "online") forget(channel);
      };
    },

    /** The users who are on a channel, as far as it is known: a list, or null. */
    presence(name) {
      const channel = channels.get(name);
      return channel && channel.present ? Array.from(channel.present) : null;
    },

    /** Calls callback(channel, audience, why) when a channel is granted; with audience null when it is taken away. */
    onAccess(callback) {
      return accessCallbacks.add(callback);
    },

    /** Calls callback({code, message, channel, retry}) for what the server refused. */
    onError(callback) {
      return errorCallbacks.add(callback);
    },
  };

  root.livepush = Object.freeze(api);
  markFetch();
  markXHR();
  markForms();
  listen();

  // ------------------------------------------------------------------------------------------------ starting by itself

  function start() {
    if (state !== "idle") return; // begun already, perhaps by the page
    try {
      const options = onPage();
      if (options) api.connect(options);
    } catch (error) {
      fail("the configuration in #" + CONFIG_ID, error);
      become("closed", { code: 0, reason: String(error.message), final: true });
    }
  }

  // After the scripts of the page, so that their callbacks hear the first event. "interactive" may be before or after
  // DOMContentLoaded, so `load` is the second chance. A page rendered ahead of a click waits for it.
  function startWhenShown() {
    if (document.prerendering) document.addEventListener("prerenderingchange", start, { once: true });
    else start();
  }

  if (document.readyState === "complete") {
    root.setTimeout(startWhenShown, 0);
  } else {
    document.addEventListener("DOMContentLoaded", startWhenShown, { once: true });
    root.addEventListener("load", startWhenShown, { once: true });
  }
})(globalThis);
