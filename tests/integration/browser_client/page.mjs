// A page for livepush.js to run in: window, document, clock, chance and network are all made here, so that a test says
// what happens and when, and nothing waits.
import { readFileSync } from "node:fs";
import vm from "node:vm";

const SCRIPT = new URL("../../../djangosite/livepush/django/static/livepush/livepush.js", import.meta.url);
const SOURCE = readFileSync(SCRIPT, "utf8");

class Target {
  constructor() {
    this.listeners = [];
  }

  addEventListener(type, listener, options) {
    this.listeners.push({ type, listener, once: Boolean(options && options.once) });
  }

  fire(type, fields = {}) {
    const event = { type, eventPhase: 2, defaultPrevented: false, ...fields };
    for (const entry of [...this.listeners]) {
      if (entry.type !== type) continue;
      if (entry.once) this.listeners.splice(this.listeners.indexOf(entry), 1);
      entry.listener(event);
    }
    event.eventPhase = 0;
    return event;
  }
}

class Clock {
  constructor() {
    this.now = 1_700_000_000_000;
    this.timers = new Map();
    this.last = 0;
  }

  setTimeout(callback, delay = 0) {
    this.last += 1;
    this.timers.set(this.last, { at: this.now + Math.max(0, delay), callback });
    return this.last;
  }

  clearTimeout(id) {
    this.timers.delete(id);
  }

  advance(ms) {
    const end = this.now + ms;
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end);
      due.sort(([a, first], [b, second]) => first.at - second.at || a - b);
      if (!due.length) break;
      const [id, timer] = due[0];
      this.timers.delete(id);
      this.now = Math.max(this.now, timer.at);
      timer.callback();
    }
    this.now = end;
  }

  // The machine sleeps: time goes by, and every timer that fell due runs afterwards.
  sleep(ms) {
    this.now += ms;
  }
}

export class Page {
  constructor(options = {}) {
    this.clock = new Clock();
    this.chance = 0.5;
    this.sockets = [];
    this.errors = [];
    this.warnings = [];
    this.reported = [];
    this.requests = [];
    this.storage = options.storage || new Map();
    const page = this;
    const location = new URL(options.location || "https://shop.example/orders/");
    const config = options.config === undefined ? {} : options.config;

    class FakeWebSocket {
      constructor(url, protocols) {
        if (options.refuse) throw new Error(options.refuse);
        this.url = url;
        this.protocols = [...protocols];
        this.readyState = 0;
        this.sent = [];
        this.closed = false;
        page.sockets.push(this);
      }

      send(text) {
        this.sent.push(JSON.parse(text));
      }

      close() {
        this.closed = true;
        this.readyState = 2;
      }

      accept() {
        if (this.readyState === 1) return;
        this.readyState = 1;
        this.onopen({});
      }

      say(message) {
        if (this.onmessage) this.onmessage({ data: typeof message === "string" ? message : JSON.stringify(message) });
      }

      end(code = 1006, reason = "") {
        this.readyState = 3;
        if (this.onclose) this.onclose({ code, reason });
      }
    }

    class Element {
      constructor(attributes = {}) {
        this.attributes = attributes;
      }

      getAttribute(name) {
        return name in this.attributes ? this.attributes[name] : null;
      }
    }

    // The browser's own submit(): it collects the fields, with no submit event before it.
    class HTMLFormElement extends Element {
      submit() {
        if (!("disconnected" in this.attributes)) this.fields = page.collect(this);
      }
    }

    class XMLHttpRequest {
      open(method, url) {
        this.request = { method, url: String(url), headers: [] };
      }

      setRequestHeader(name, value) {
        this.request.headers.push([name, value]);
      }

      send(body) {
        page.requests.push({ ...this.request, body });
      }
    }

    this.document = Object.assign(new Target(), {
      readyState: "loading",
      visibilityState: "visible",
      baseURI: options.base || location.href,
      prerendering: Boolean(options.prerendering),
      getElementById: (id) =>
        id === "livepush-config" && config !== null
          ? { textContent: typeof config === "string" ? config : JSON.stringify(config) }
          : null,
    });
    this.navigator = { onLine: options.onLine !== false };
    this.window = new Target();
    const storage = {
      getItem: (key) => (page.storage.has(key) ? page.storage.get(key) : null),
      setItem: (key, value) => void page.storage.set(key, value),
      removeItem: (key) => void page.storage.delete(key),
    };
    const globals = {
      document: this.document,
      navigator: this.navigator,
      location,
      addEventListener: this.window.addEventListener.bind(this.window),
      setTimeout: this.clock.setTimeout.bind(this.clock),
      clearTimeout: this.clock.clearTimeout.bind(this.clock),
      Date: { now: () => page.clock.now },
      Math: Object.assign(Object.create(Math), { random: () => page.chance }),
      console: { error: (...args) => page.errors.push(args), warn: (text) => page.warnings.push(text) },
      reportError: (error) => page.reported.push(error),
      crypto: globalThis.crypto,
      WebSocket: FakeWebSocket,
      XMLHttpRequest,
      HTMLFormElement,
      Element,
      URL,
      Headers,
      Request,
      fetch(input, init) {
        page.requests.push({ input, init });
        return Promise.resolve();
      },
      ...options.globals,
    };
    globals.top = options.framed ? {} : globals;
    Object.defineProperty(globals, "sessionStorage", {
      get() {
        if (options.storage === null) throw new Error("The operation is insecure.");
        return storage;
      },
    });
    this.context = vm.createContext(globals);
    // A window is its own `top`, seen from inside as from outside.
    if (!options.framed) vm.runInContext("globalThis.top = globalThis", this.context);
    this.run();
    this.livepush = this.context.livepush;
  }

  run() {
    vm.runInContext(SOURCE, this.context, { filename: "livepush.js" });
  }

  // The page is parsed: what connects by itself does so now.
  ready() {
    this.document.readyState = "interactive";
    this.document.fire("DOMContentLoaded");
    return this;
  }

  get socket() {
    return this.sockets[this.sockets.length - 1];
  }

  // The server accepts the latest connection.
  welcome(channels = { orders: { audience: "client", replayed: 0 } }, fields = {}) {
    this.socket.accept();
    const welcome = { op: "welcome", n: 0, conn: "c1", user: 7, heartbeat: 25, retry: [500, 20000] };
    this.socket.say({ ...welcome, channels, ...fields });
    return this;
  }

  event(number, fields = {}) {
    const event = { op: "event", channel: "orders", type: "lock", data: { order: 5 }, id: `a1b2-${number}`, ts: 17 };
    this.socket.say({ ...event, ...fields });
  }

  visible(yes) {
    this.document.visibilityState = yes ? "visible" : "hidden";
    this.document.fire("visibilitychange");
  }

  online(yes) {
    this.navigator.onLine = yes;
    this.window.fire(yes ? "online" : "offline");
  }

  // What the browser does with a form's fields just before it sends them.
  collect(form) {
    const formData = new Map();
    this.window.fire("formdata", { target: form, formData });
    return Object.fromEntries(formData);
  }

  // A person presses a button of the form; `handler` is a listener of the page.
  submit(form, submitter = null, handler = () => {}) {
    let listening = true;
    this.window.addEventListener("submit", (event) => {
      if (listening) handler(event);
    });
    const event = this.window.fire("submit", { target: form, submitter, preventDefault: () => {} });
    listening = false;
    return event.defaultPrevented ? null : this.collect(form);
  }

  form(attributes) {
    return new this.context.HTMLFormElement(attributes);
  }

  button(attributes) {
    return new this.context.Element(attributes);
  }
}

// What came from the page's own realm, with this realm's prototypes.
export function plain(value) {
  return JSON.parse(JSON.stringify(value));
}
